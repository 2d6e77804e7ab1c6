import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { MANAGER_RIGHTS } from '../../src/adapters/kubernetes/rights.ts';
import { connectCluster } from '../../src/cli/connect-cluster.ts';
import { inProcessApi } from '../../src/cli/in-process.ts';
import { openInstalled } from '../../src/cli/installed.ts';
import { status } from '../kubernetes-fake-server.ts';
import { openWorld } from '../support/world.ts';
import { installedCluster } from './installed-cluster.ts';
import { attach, bifrost, Captured, clockOf, hurriedClock } from './support.ts';

const NAME = 'acme-corp-production';

/** The command on a world's store and cluster by a manager of its own, which is not started; the world's manager runs. */
async function besides() {
  const world = await openWorld();
  const bystander = world.newManager();
  const connection = {
    transport: inProcessApi({ manager: bystander, user: 'tester' }).transport,
    isLive: false,
    place: 'a world',
    [Symbol.asyncDispose]: async () => {},
  };
  const cli = (argv: readonly string[]) => bifrost([...argv, '--cluster'], { openCluster: async () => connection, clock: clockOf(world) });
  return Object.assign(world, { cli });
}

describe('bifrost --cluster', () => {
  it('writes wishes; the running manager does the rest', async () => {
    await using world = await besides();
    const created = await world.cli(['tailnet', 'create', 'acme-corp-staging', '--customer', 'acme-corp', '--allow', '10.0.0.0/8', '--wait']);
    expect(created).toMatchObject({ code: 0, out: 'tailnet acme-corp-staging is active\n' });
    expect(world.audit.records.some(({ actor, action }) => action === 'createTailnet' && actor === 'local:tester')).toBe(true);
    const attached = await world.cli(['sidecar', 'attach', 'customer-support-book', '--tailnet', NAME, '--hostname', 'support', '--wait']);
    expect(attached).toMatchObject({ code: 0, out: expect.stringContaining('is connected') });
    expect((await world.cli(['sidecar', 'detach', 'acme-corp/customer-support-book', '--wait'])).code).toBe(0);
    expect((await world.cli(['leftovers'])).out).toBe('nothing is left over\n');
  });

  it('shows no number that only a running manager knows', async () => {
    await using world = await besides();
    await attach(world);
    const all = await world.cli(['status']);
    expect(all.out.split('\n')[0]?.split(/ {2,}/)).toEqual(['TAILNET', 'CUSTOMER', 'STATUS', 'DEVICES', 'SIDECARS', 'REASON']);
    expect(all.out.split('\n')[1]).toMatch(/^acme-corp-production +acme-corp +active +1 +1\/1/);
    expect(all.err).toContain('running manager alone');
    expect(JSON.parse((await world.cli(['status', '-o', 'json'])).out)).not.toHaveProperty('metrics');
    expect(JSON.parse((await world.cli(['status', NAME, '-o', 'json'])).out)).not.toHaveProperty('status');
    for (const verb of ['watch', 'metrics']) expect(await world.cli([verb])).toMatchObject({ code: 2, err: expect.stringContaining('--server') });
  });
});

const onCluster = (argv: readonly string[], kubeconfig: string, env: Readonly<Record<string, string>> = {}) =>
  bifrost([...argv, '--cluster', '--kubeconfig', kubeconfig], { env, openCluster: connectCluster });

describe('bifrost --cluster on an API server', () => {
  it('reads the objects there', async () => {
    await using cluster = await installedCluster();
    const { code, out } = await onCluster(['tailnet', 'list'], cluster.kubeconfig);
    expect([code, out]).toEqual([0, expect.stringMatching(/^acme-production +acme +active/m)]);
  });

  it('renders with the settings of the manager that is installed there, or not at all', async () => {
    await using cluster = await installedCluster();
    const plan = ['tailnet', 'update', 'acme-production', '--allow', '10.1.0.0/16', '--dry-run'];
    cluster.inside.deployment = undefined;
    const refused = await onCluster(plan, cluster.kubeconfig);
    expect([refused.code, refused.err]).toEqual([2, expect.stringMatching(/BIFROST_TAILSCALE_IMAGE.*bifrost\/network-manager/)]);
    expect((await onCluster(['tailnet', 'list'], cluster.kubeconfig)).code).toBe(0); // reading needs none of it
    const own = { BIFROST_TAILSCALE_IMAGE: 'tailscale:latest', BIFROST_AGENT_IMAGE: 'agent', BIFROST_INGEST_URL: 'https://ingest' };
    expect(await onCluster(plan, cluster.kubeconfig, own)).toMatchObject({
      code: 2,
      err: expect.stringContaining('images.tailscale: pin the image by digest'),
    });
  });

  it('hands agents the authority that the manager would', async () => {
    await using cluster = await installedCluster();
    const { stdout, stderr } = { stdout: new Captured(), stderr: new Captured() };
    const cli = {
      env: {},
      stdin: (async function* () {})(),
      stdout,
      stderr,
      signal: new AbortController().signal,
      clock: hurriedClock(),
      user: 'tester',
    };
    const options = { kubeconfig: cluster.kubeconfig, manager: 'bifrost/network-manager', output: 'table', requestTimeout: '30s' } as const;
    await using installed = await openInstalled(options, { ...cli, openCluster: () => Promise.reject() });
    expect(installed).toMatchObject({ lacking: [], place: { namespace: 'bifrost', name: 'network-manager' } });
    expect(installed.caBundle).toBe(cluster.inside.secrets['bifrost-tls']?.['ca.crt']);
  });

  it.each([
    ['credentials', 401, 'Unauthorized', 'does not accept our credentials; check the kubeconfig'],
    ['the right', 403, 'Forbidden', 'forbidden; grant what examples/deploy/rbac.yaml grants'],
  ] as const)('ends with 1 where the API server refuses %s, and says so', async (_, code, reason, said) => {
    await using cluster = await installedCluster();
    cluster.server.otherwise(status(code, reason));
    for (const argv of [['status'], ['status', 'acme-production'], ['tailnet', 'delete', 'acme-production']]) {
      const refused = await onCluster(argv, cluster.kubeconfig);
      expect([argv, refused.code, refused.err]).toEqual([argv, 1, expect.stringMatching(/^error: \[CLUSTER_DENIED\].*\n/)]);
      expect(refused.err).toContain(said);
      expect(refused.err).not.toContain('canary');
    }
  });

  it('ends with 4 when nobody answers, and shows no credential', async () => {
    const cluster = await installedCluster();
    await cluster[Symbol.asyncDispose]();
    const { code, err } = await onCluster(['tailnet', 'list'], cluster.kubeconfig);
    expect([code, err]).toEqual([4, expect.stringContaining('STORE_UNAVAILABLE')]);
    expect(err).not.toContain('canary');
  });
});

it('asks for the rights that examples/deploy/rbac.yaml grants', () => {
  const text = readFileSync(join(import.meta.dirname, '../../../../examples/deploy/rbac.yaml'), 'utf8');
  const role = parseAllDocuments(text)
    .map((document) => document.toJS() as { kind: string; rules: { apiGroups: string[]; resources: string[]; verbs: string[] }[] })
    .find(({ kind }) => kind === 'ClusterRole');
  const granted = role?.rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`))),
  );
  expect(MANAGER_RIGHTS.map(({ group, resource, verb }) => `${verb} ${group}/${resource}`).sort()).toEqual(granted?.sort());
});
