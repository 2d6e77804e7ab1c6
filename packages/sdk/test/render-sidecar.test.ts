import { describe, expect, it } from 'vitest';
import { podSecurityViolations } from '../src/adapters/memory/pod-security.ts';
import { withFragment } from '../src/domain/attach-plan.ts';
import { carries } from '../src/domain/carries.ts';
import { fragmentHash } from '../src/domain/fragment-hash.ts';
import { hasLiveGuard } from '../src/domain/live-guard.ts';
import { LABELS } from '../src/domain/names.ts';
import type { PodTemplateShape } from '../src/domain/pod-shape.ts';
import { type RenderInput, renderSidecar } from '../src/domain/render-sidecar.ts';
import { servedPorts } from '../src/domain/served-ports.ts';
import { renderInput as input } from './support/render-input.ts';

const tailscaleOf = (change: Partial<RenderInput>) => renderSidecar({ ...input, ...change }).initContainers[2];
const environmentOf = (change: Partial<RenderInput>) => Object.fromEntries((tailscaleOf(change)?.env ?? []).map(({ name, value }) => [name, value]));

describe('renderSidecar', () => {
  it('renders the specification’s sidecar as in the golden file', async () => {
    await expect(`${JSON.stringify(renderSidecar(input), null, 2)}\n`).toMatchFileSnapshot('./golden/fragment.json');
  });

  it('starts guard, then agent, then tailscale, as native sidecars', () => {
    const { initContainers } = renderSidecar(input);
    expect(initContainers.map(({ name, restartPolicy }) => [name, restartPolicy])).toEqual([
      ['bifrost-guard', 'Always'],
      ['bifrost-agent', 'Always'],
      ['tailscale', 'Always'],
    ]);
  });

  it('has a guard that the agent may order, and only by a folder that the guard cannot write and the book does not see', () => {
    const { initContainers, volumes } = renderSidecar(input);
    const mounts = initContainers.map(({ volumeMounts }) =>
      (volumeMounts as readonly { name: string; readOnly?: boolean }[])
        .filter(({ name }) => name.startsWith('bifrost-guard'))
        .map(({ name, readOnly = false }) => [name, readOnly])
        .sort(),
    );
    const guard = [
      ['bifrost-guard', false],
      ['bifrost-guard-order', true],
    ];
    expect(mounts).toEqual([guard, guard.map(([name, readOnly]) => [name, !readOnly]), []]);
    expect(initContainers[0]?.['securityContext']).toMatchObject({ readOnlyRootFilesystem: true, allowPrivilegeEscalation: false });
    for (const name of ['bifrost-guard', 'bifrost-guard-order']) {
      expect(volumes.find((volume) => volume.name === name)).toMatchObject({
        emptyDir: { medium: 'Memory', sizeLimit: expect.stringMatching(/^\d+Mi$/) },
      });
    }
    expect([hasLiveGuard(renderSidecar(input)), hasLiveGuard(renderSidecar({ ...input, networkMode: 'userspace' }))]).toEqual([true, false]);
  });

  it('never gives a key by value, and never a state Secret', () => {
    const environment = environmentOf({});
    expect(environment['TS_AUTHKEY']).toMatch(/^file:/);
    expect(environment['TS_KUBE_SECRET']).toBe('');
    expect(environment['TS_AUTH_ONCE']).toBe('true');
  });

  it('keeps shields up unless something is served, routed or ssh is on', () => {
    const shields = (change: Partial<RenderInput>): string | undefined =>
      environmentOf(change)
        ['TS_EXTRA_ARGS']?.split(' ')
        .find((word) => word.startsWith('--shields-up'));
    const quiet = { servedPorts: [], config: { ...input.config, advertiseRoutes: [] } };
    expect(shields(quiet)).toBe('--shields-up=true');
    expect(shields({ ...quiet, servedPorts: [{ protocol: 'tcp', port: 1 }] })).toBe('--shields-up=false');
    expect(shields({ ...quiet, config: { ...quiet.config, enableSsh: true } })).toBe('--shields-up=false');
  });

  it('drops every capability but NET_ADMIN, and gives the agent none', () => {
    const capabilities = renderSidecar(input).initContainers.map(
      ({ securityContext }) => (securityContext as { capabilities: unknown }).capabilities,
    );
    expect(capabilities).toEqual([{ drop: ['ALL'], add: ['NET_ADMIN'] }, { drop: ['ALL'] }, { drop: ['ALL'], add: ['NET_ADMIN'] }]);
  });

  it('bug: with ssh on, tailscale alone may set groups and users too, or whoever was let in got no shell', () => {
    const capabilities = renderSidecar({ ...input, config: { ...input.config, enableSsh: true } }).initContainers.map(
      ({ securityContext }) => (securityContext as { capabilities: unknown }).capabilities,
    );
    expect(capabilities).toEqual([
      { drop: ['ALL'], add: ['NET_ADMIN'] },
      { drop: ['ALL'] },
      { drop: ['ALL'], add: ['NET_ADMIN', 'SETGID', 'SETUID'] },
    ]);
  });
});

describe('renderSidecar in userspace mode', () => {
  const unprivileged = {
    allowPrivilegeEscalation: false,
    runAsNonRoot: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  };
  const template: PodTemplateShape = {
    spec: {
      initContainers: [{ name: 'migrate', securityContext: unprivileged }],
      containers: [{ name: 'book', ports: [{ containerPort: 8080 }], securityContext: unprivileged }],
    },
  };
  const userspace: RenderInput = { ...input, networkMode: 'userspace', template };
  const portOf = (ports: readonly number[]): string | undefined =>
    Object.fromEntries(
      (
        renderSidecar({
          ...userspace,
          template: { spec: { containers: [{ name: 'book', ports: ports.map((containerPort) => ({ containerPort })) }] } },
        }).initContainers[2]?.env ?? []
      ).map(({ name, value }) => [name, value]),
    )['TS_SOCKS5_SERVER'];

  it('renders as in the golden file', async () => {
    await expect(`${JSON.stringify(renderSidecar(userspace), null, 2)}\n`).toMatchFileSnapshot('./golden/fragment-userspace.json');
  });

  it('has no shell for anybody: ssh is refused', () => {
    expect(() => renderSidecar({ ...userspace, config: { ...input.config, enableSsh: true } })).toThrow(
      expect.objectContaining({ code: 'WORKLOAD_UNSUPPORTED', issues: [expect.objectContaining({ path: 'config.enableSsh' })] }),
    );
  });

  it('is admitted by pod security level restricted; twin: kernel mode is not', () => {
    expect(podSecurityViolations('restricted', withFragment(template, renderSidecar(userspace)))).toEqual([]);
    expect(podSecurityViolations('restricted', withFragment(template, renderSidecar(input)))).not.toEqual([]);
  });

  it('has a guard that writes no rules, no tun device, and other users for agent, tailscale and book', () => {
    const { initContainers, volumes } = renderSidecar(userspace);
    expect(initContainers.map(({ name }) => name)).toEqual(['bifrost-guard', 'bifrost-agent', 'tailscale']);
    expect(JSON.stringify(initContainers[0])).not.toContain('rule add');
    expect(volumes.map(({ name }) => name)).not.toContain('bifrost-tun');
    const users = initContainers.map(({ securityContext }) => (securityContext as { runAsUser: number }).runAsUser);
    expect(new Set([...users, 65532, 0]).size).toBe(4);
  });

  it('takes a port that no container declares, nor a container of ours', () => {
    expect(portOf([])).toBe('127.0.0.1:1055');
    expect(portOf([1055, 1056, 8080])).toBe('127.0.0.1:1057');
  });

  it('gives all of the book’s containers the variables, in both spellings, and leaves the cluster, itself and blocked networks out', () => {
    const { containers = [] } = renderSidecar(userspace);
    expect(containers.map(({ name }) => name)).toEqual(['migrate', 'book']);
    const [, book] = containers;
    const variables = Object.fromEntries((book?.env ?? []).map(({ name, value }) => [name, value]));
    for (const name of ['ALL_PROXY', 'all_proxy']) expect(variables[name]).toBe('socks5://127.0.0.1:1055');
    for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy']) expect(variables[name]).toBe('http://127.0.0.1:1055');
    for (const name of ['NO_PROXY', 'no_proxy']) {
      expect(variables[name]?.split(',')).toEqual(
        expect.arrayContaining([
          ...['localhost', '127.0.0.1', '::1', '.svc', '.cluster.local', 'bifrost.bifrost.svc.cluster.local'],
          ...['10.244.0.0/24', '10.96.0.0/16', '10.250.0.1/32', '169.254.0.0/16'],
        ]),
      );
    }
  });

  it('renders the same for a template that carries its sidecar already', () => {
    const fragment = renderSidecar(userspace);
    expect(renderSidecar({ ...userspace, template: withFragment(template, fragment) })).toEqual(fragment);
  });
});

describe('fragmentHash', () => {
  const hashOf = (change: Partial<RenderInput>) => renderSidecar({ ...input, ...change }).annotations[LABELS.fragment];
  it('is an annotation of the fragment, made of all the rest of it', () => {
    const fragment = renderSidecar(input);
    expect(fragment.annotations[LABELS.fragment]).toMatch(/^[0-9a-f]{16}$/);
    expect(fragmentHash(fragment)).toBe(fragment.annotations[LABELS.fragment]);
    const { [LABELS.fragment]: _, ...annotations } = fragment.annotations;
    expect(fragmentHash({ ...fragment, annotations })).toBe(fragmentHash(fragment));
  });

  it('tells any change, and nothing but changes: the order of members is none', () => {
    const changes: readonly Partial<RenderInput>[] = [
      {},
      { heartbeatMs: 1 },
      { tailnetName: 'other' },
      { ingestHasOwnCa: false },
      { networkMode: 'userspace' },
    ];
    expect(new Set(changes.map(hashOf)).size).toBe(changes.length);
    const { volumes, labels, ...rest } = renderSidecar(input);
    expect(fragmentHash({ volumes, ...rest, labels })).toBe(hashOf({}));
  });

  it('is 64-bit FNV-1a of the canonical JSON', () => {
    expect(fragmentHash({ labels: {}, annotations: {}, initContainers: [], volumes: [] })).toBe('8464c38e8f2e466b');
  });
});

describe('the tailscale container’s addresses', () => {
  it('have brackets where pods have IPv6 only', () => {
    const address = (pods: readonly string[]) => environmentOf({ ranges: { ...input.ranges, pods } })['TS_LOCAL_ADDR_PORT'];
    expect(address(['10.244.0.0/24', 'fd00:10::/64'])).toBe('$(POD_IP):9002');
    expect(address(['fd00:10::/64'])).toBe('[$(POD_IP)]:9002');
  });
});

describe('carries', () => {
  const own: PodTemplateShape = {
    metadata: { labels: { app: 'book' } },
    spec: { containers: [{ name: 'book' }], initContainers: [{ name: 'own' }] },
  };
  const fragment = renderSidecar({ ...input, networkMode: 'userspace', template: own });
  const attached = withFragment(own, fragment);
  const [agent = { name: '' }, tailscale = { name: '' }, ...others] = attached.spec.initContainers ?? [];
  const changed = (spec: Partial<PodTemplateShape['spec']>): PodTemplateShape => ({ ...attached, spec: { ...attached.spec, ...spec } });

  it('what is in is carried, with whatever defaults the API server added and empty texts that it left out', () => {
    expect(carries(attached, fragment)).toBe(true);
    const asStored = JSON.parse(JSON.stringify(attached).replaceAll(',"value":""', '')) as PodTemplateShape;
    expect(JSON.stringify(asStored)).not.toBe(JSON.stringify(attached));
    const defaults = { imagePullPolicy: 'IfNotPresent', terminationMessagePath: '/dev/termination-log', of: 'a later version' };
    const [first = { name: '' }, ...rest] = asStored.spec.initContainers ?? [];
    expect(carries({ ...asStored, spec: { ...asStored.spec, initContainers: [{ ...first, ...defaults }, ...rest] } }, fragment)).toBe(true);
  });

  const differences: readonly [string, PodTemplateShape][] = [
    ['another value', changed({ initContainers: [{ ...agent, image: 'other' }, tailscale, ...others] })],
    ['a command that we did not write', changed({ initContainers: [agent, { ...tailscale, command: ['sleep'] }, ...others] })],
    [
      'a capability that we did not ask for',
      changed({
        initContainers: [agent, { ...tailscale, securityContext: { ...(tailscale['securityContext'] as object), privileged: true } }, ...others],
      }),
    ],
    ['another variable', changed({ initContainers: [agent, { ...tailscale, env: [...(tailscale.env ?? []), { name: 'X' }] }, ...others] })],
    ['a missing container', changed({ initContainers: [agent, ...others] })],
    ['another order', changed({ initContainers: [...others, agent, tailscale] })],
    ['a missing volume', changed({ volumes: (attached.spec.volumes ?? []).slice(1) })],
    ['a missing variable of the book', changed({ containers: [{ name: 'book' }] })],
    ['another label', { ...attached, metadata: { ...attached.metadata, labels: { [LABELS.sidecarId]: 'other' } } }],
  ];
  it.each(differences)('%s is a difference', (_, template) => {
    expect(carries(template, fragment)).toBe(false);
  });

  it('a container of the book that is gone needs no variables', () => {
    expect(carries(changed({ containers: [{ name: 'renamed' }] }), fragment)).toBe(true);
  });
});

describe('servedPorts', () => {
  it('takes declared ports and probes, named ports from their own container, each once', () => {
    const template = {
      spec: {
        containers: [
          {
            name: 'a',
            ports: [
              { name: 'http', containerPort: 8080 },
              { containerPort: 53, protocol: 'UDP' },
            ],
            readinessProbe: { httpGet: { port: 'http' } },
          },
          { name: 'b', livenessProbe: { tcpSocket: { port: 9000 } }, startupProbe: { grpc: { port: 9001 } } },
        ],
      },
    };
    expect(servedPorts(template)).toEqual([
      { protocol: 'tcp', port: 8080 },
      { protocol: 'tcp', port: 9000 },
      { protocol: 'tcp', port: 9001 },
      { protocol: 'udp', port: 53 },
    ]);
  });

  it('bug: ports of our own containers are not the book’s, or a sidecar rendered again would let callers in', () => {
    const attached = withFragment({ spec: { containers: [{ name: 'book' }] } }, renderSidecar(input));
    expect(servedPorts(attached)).toEqual([]);
  });
});
