import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ContainerAddress, exec } from './support/containers.ts';
import type { Customer } from './support/customer.ts';
import { Stage } from './support/stage.ts';

// A book that shares one process namespace with its sidecar sees its processes, and nothing of their files.
const stage = new Stage();
const { platform } = stage;
const SPACE = 'processes';
const TOKEN = '/var/run/bifrost/identity/token';
const KEY = '/var/run/bifrost/key/authkey';
let customer: Customer;

interface Process {
  readonly pid: string;
  readonly name: string;
  readonly user: string;
}
/** All of the pod's processes, as its tailscale container lists them. */
async function processes(tailscale: ContainerAddress): Promise<readonly Process[]> {
  const script = 'for p in /proc/[0-9]*; do echo "${p#/proc/} $(busybox cat $p/comm) $(busybox awk \'/^Uid/ { print $2 }\' $p/status)"; done';
  const { stdout } = await exec(tailscale, ['sh', '-c', script]);
  return stdout
    .split('\n')
    .map((line) => line.split(' '))
    .flatMap(([pid = '', name = '', user = '']) => (name === '' ? [] : [{ pid, name, user }]));
}

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: 'processes' });
  await stage.space(SPACE, 'processes');
  await stage.tailnet({ customer_id: 'processes', tailnet_name: 'processes' });
  await stage.book({ name: 'shared', namespace: SPACE, podSpec: { shareProcessNamespace: true } });
  await stage.pod(SPACE, 'shared');
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('a book with shareProcessNamespace', () => {
  let agent: Process;
  let tailscaled: Process;

  test('is attached, connects, and reaches its customer', async () => {
    const sidecarId = await stage.attach(`${SPACE}/shared`, 'processes');
    await platform.sidecarReaches(sidecarId, 'connected');
    await stage.reaches(await stage.inBook(SPACE, 'shared'), customer);
  });

  test('sees the processes of agent and tailscaled, which run as other users than it', async () => {
    const found = await processes(await stage.inBook(SPACE, 'shared', 'tailscale'));
    const one = (matches: (candidate: Process) => boolean): Process => found.find(matches) ?? { pid: '', name: '', user: '' };
    agent = one(({ user }) => user === '60931'); // Node names its main thread by itself
    tailscaled = one(({ name }) => name === 'tailscaled');
    expect([agent.user, tailscaled.user, one(({ name }) => name === 'book').user]).toEqual(['60931', '0', '65532']);
    const status = await exec(await stage.inBook(SPACE, 'shared'), ['/book', 'cat', `/proc/${agent.pid}/status`]);
    expect(status.stdout).toContain('Uid:\t60931');
  });

  test('cannot read the agent’s token, the key or anybody’s environment through /proc', async () => {
    const book = await stage.inBook(SPACE, 'shared');
    const files = [`${agent.pid}/root${TOKEN}`, `${agent.pid}/environ`, `${tailscaled.pid}/root${KEY}`, `${tailscaled.pid}/environ`];
    for (const file of files)
      expect(await exec(book, ['/book', 'cat', `/proc/${file}`]), file).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringContaining('permission denied'),
      });
  });

  test('twins: the same paths lead there for whoever is in the right container', async () => {
    const script = `process.stdout.write(String(require('node:fs').readFileSync('/proc/${agent.pid}/root${TOKEN}').length))`;
    const token = await exec(await stage.inBook(SPACE, 'shared', 'bifrost-agent'), ['/nodejs/bin/node', '-e', script]);
    expect(Number(token.stdout)).toBeGreaterThan(100);
    const key = await exec(await stage.inBook(SPACE, 'shared', 'tailscale'), ['sh', '-c', `busybox wc -c < /proc/${tailscaled.pid}/root${KEY}`]);
    expect(Number(key.stdout)).toBeGreaterThan(10);
  });
});

test('a book that runs as the agent’s user in one process namespace is refused, with the field; twin: in one of its own it is not', async () => {
  const container = { securityContext: { runAsUser: 60931 } };
  await stage.book({ name: 'agent-user', namespace: SPACE, container, podSpec: { shareProcessNamespace: true }, replicas: 0 });
  await stage.book({ name: 'own-namespace', namespace: SPACE, container, replicas: 0 });
  const plan = (name: string) =>
    platform.call('POST', '/sidecars:plan', { book_deployment_id: `${SPACE}/${name}`, tailnet_name: 'processes', config: { hostname: name } });
  expect(await plan('agent-user')).toMatchObject({
    status: 422,
    body: { code: 'WORKLOAD_UNSUPPORTED', issues: [{ path: 'spec.template.spec.containers.0.securityContext.runAsUser' }] },
  });
  expect((await plan('own-namespace')).status).toBe(200);
});
