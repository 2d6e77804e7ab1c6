import { expect, it } from 'vitest';
import { kubernetes, kubernetesCluster } from '../src/kubernetes.ts';
import { events, list, startFakeServer } from './kubernetes-fake-server.ts';

/** What `kubectl debug` adds to a pod that runs. */
const DEBUGGER = { name: 'debugger', image: 'debug:1', command: ['canary'], securityContext: { capabilities: { add: ['NET_ADMIN'] } } };

/** As an API server writes it, with what it adds to each pod alone. */
const podOf = (at: number, more: object = {}) => {
  const volumeMounts = [{ name: `kube-api-access-${at}`, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' }];
  const securityContext = { capabilities: { drop: ['ALL'] } };
  return {
    metadata: { name: `p-${at}`, namespace: 'n', uid: `${at}`, resourceVersion: '1' },
    spec: {
      initContainers: [
        {
          name: 'bifrost-guard',
          image: 'tailscale:1',
          command: ['/bin/sh', '-c', 'add 4 5110 to 10.0.0.0/8 lookup 52'],
          restartPolicy: 'Always',
          volumeMounts,
        },
        { name: 'tailscale', image: 'tailscale:1', env: [{ name: 'TS_AUTHKEY', value: 'canary' }], volumeMounts },
      ],
      containers: [
        { name: 'book', image: 'book:1', command: ['canary'], env: [{ name: 'PASSWORD', value: 'canary' }], securityContext, volumeMounts },
      ],
      ...more,
    },
  };
};

it('a pod is told as it runs: its guard, what its containers may do, and no variable of anybody’s; those alike are in memory once', async () => {
  await using server = await startFakeServer();
  const pods = [
    podOf(1),
    podOf(2),
    podOf(3, { hostNetwork: true }),
    podOf(4, { initContainers: null }),
    podOf(5, { ephemeralContainers: [DEBUGGER] }),
  ];
  server.otherwise((received, response) => (received.query.get('watch') === 'true' ? events([]) : list(pods, '1'))(received, response));
  await using cluster = kubernetesCluster({ connection: kubernetes({ kubeconfig: server.kubeconfig() }) });
  const call = { signal: AbortSignal.timeout(10_000) };
  await cluster.start(call);
  const [one, two, three, four, five] = (await cluster.pods.list(call)).map(({ form }) => form);
  const command = ['/bin/sh', '-c', 'add 4 5110 to 10.0.0.0/8 lookup 52'];
  expect(one).toEqual({
    initContainers: [{ name: 'bifrost-guard', image: 'tailscale:1', command, restartPolicy: 'Always' }, { name: 'tailscale' }],
    containers: [{ name: 'book', securityContext: { capabilities: { drop: ['ALL'] } } }],
    hostNetwork: false,
  });
  expect(two).toBe(one);
  expect(three).toEqual({ ...one, hostNetwork: true });
  expect(four).toEqual({ ...one, initContainers: [] });
  const { name, securityContext } = DEBUGGER;
  expect(five).toEqual({ ...one, containers: [...(one?.containers ?? []), { name, securityContext }] });
  expect(JSON.stringify([one, two, three, four, five])).not.toContain('canary');
});
