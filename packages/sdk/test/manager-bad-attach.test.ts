import type { AttachSidecarInput } from '@bifrost/types';
import { describe, expect, it } from 'vitest';
import { expectRefused } from './support/refused.ts';
import { ACME, BOOK, type Opened, openWorld, refusal } from './support/world.ts';

const attach = (change: Partial<AttachSidecarInput>) => (world: Opened) => world.manager.attachSidecar({ ...BOOK, ...change });
const withHostname = (hostname: string) => attach({ config: { ...BOOK.config, hostname } });

describe('attachSidecar refuses', () => {
  const cases: readonly [string, (world: Opened) => Promise<unknown>, string, readonly string[]][] = [
    ['an unknown tailnet', attach({ tailnetName: 'nobody' }), 'TAILNET_NOT_FOUND', ['tailnetName']],
    ['a hostname with quotes', withHostname('book"; reboot; "'), 'INVALID_ARGUMENT', ['config.hostname']],
    ['a hostname with a line break', withHostname('book\nbook'), 'INVALID_ARGUMENT', ['config.hostname']],
    ['a hostname with other letters', withHostname('bücher'), 'INVALID_ARGUMENT', ['config.hostname']],
    ['a hostname that is too long', withHostname('a'.repeat(64)), 'INVALID_ARGUMENT', ['config.hostname']],
    ['bad ranges', attach({ config: { ...BOOK.config, advertiseRoutes: ['10.244.0.0/16', 'x'] } }), 'INVALID_ARGUMENT', ['config.advertiseRoutes.1']],
    ['no request at all', (world) => world.manager.attachSidecar(undefined as never), 'INVALID_ARGUMENT', ['']],
    ['no config', attach({ config: undefined as never }), 'INVALID_ARGUMENT', ['config']],
    ['a workload that is not there', attach({ bookDeploymentId: 'nobody' }), 'WORKLOAD_NOT_FOUND', ['bookDeploymentId']],
  ];
  it.each(cases)('%s', async (_, call, code, paths) => {
    await using world = await openWorld();
    await expectRefused(world, () => call(world), { code, paths });
  });

  it('an id that two workloads have, until one is named by its uid', async () => {
    await using world = await openWorld();
    const twin = await world.addBook({ kind: 'StatefulSet' });
    await expectRefused(world, () => attach({})(world), { code: 'WORKLOAD_AMBIGUOUS', paths: ['bookDeploymentId'] });
    await expect(attach({ bookDeploymentId: twin.uid })(world)).resolves.toMatchObject({ status: 'attaching' });
  });

  it("another customer's namespace, and one that is nobody's; twin: their own tailnet", async () => {
    await using world = await openWorld();
    await world.addCustomer('globex');
    const theirs = await world.addBook({ namespace: 'globex', name: 'theirs' });
    await world.addBook({ namespace: 'default', name: 'nobodys' });
    await expectRefused(world, () => attach({ bookDeploymentId: 'theirs' })(world), { code: 'CUSTOMER_MISMATCH', paths: ['bookDeploymentId'] });
    await expectRefused(world, () => attach({ bookDeploymentId: 'default/nobodys' })(world), {
      code: 'CUSTOMER_MISMATCH',
      paths: ['bookDeploymentId'],
    });
    await world.manager.createTailnet({ ...ACME, customerId: 'globex', tailnetName: 'globex-production' });
    await expect(attach({ bookDeploymentId: theirs.uid, tailnetName: 'globex-production' })(world)).resolves.toMatchObject({ status: 'attaching' });
  });

  it('bug: a stranger who writes the id of a book onto workloads of his own does not hinder its attach', async () => {
    await using world = await openWorld();
    await world.addCustomer('globex');
    const labels = { 'bifrost.dev/book-deployment-id': BOOK.bookDeploymentId };
    for (const name of ['one', 'two']) await world.cluster.createWorkload({ namespace: 'globex', name, labels, replicas: 0 });
    await world.cluster.createWorkload({ namespace: 'globex', name: 'posing', labels: { 'bifrost.dev/book-deployment-id': world.book.uid } });
    await attach({})(world);
    expect((await world.sidecars()).map(({ spec }) => spec.workload)).toEqual([world.book]);
    await expect(attach({ bookDeploymentId: world.book.uid })(world)).resolves.toMatchObject({ status: 'attaching' });
  });

  it('a tailnet that is being deleted', async () => {
    await using world = await openWorld();
    const second = await world.addBook({ name: 'second' });
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    await world.manager.deleteTailnet('acme-corp-production', { cascade: true });
    expect(await refusal(attach({ bookDeploymentId: second.uid, config: { hostname: 'second' } })(world))).toMatchObject({
      code: 'TAILNET_DELETING',
      issues: [{ path: 'tailnetName' }],
    });
  });

  it('what is attached otherwise; the same again is a no-op', async () => {
    await using world = await openWorld();
    await world.manager.createTailnet({ ...ACME, tailnetName: 'acme-corp-staging' });
    const first = await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    await expectRefused(world, () => attach({ config: { ...BOOK.config, enableSsh: true } })(world), { code: 'SIDECAR_EXISTS', paths: ['config'] });
    await expectRefused(world, () => attach({ tailnetName: 'acme-corp-staging' })(world), { code: 'SIDECAR_EXISTS', paths: ['tailnetName'] });
    const before = await world.snapshot([world.book]);
    expect(await world.manager.attachSidecar(structuredClone(BOOK))).toMatchObject({
      sidecarId: first.sidecarId,
      createdAt: first.createdAt,
      status: 'connected',
    });
    await world.run(2_000);
    expect(await world.snapshot([world.book])).toEqual(before);
  });

  it('a hostname that another sidecar of the tailnet has, also in another of the customer’s tailnets that leads to the same place', async () => {
    await using world = await openWorld();
    await world.manager.createTailnet({ ...ACME, tailnetName: 'acme-corp-staging' });
    await world.addBook({ name: 'second' });
    await world.manager.attachSidecar(BOOK);
    const second = { bookDeploymentId: 'second' };
    await expectRefused(world, () => attach(second)(world), { code: 'HOSTNAME_TAKEN', paths: ['config.hostname'] });
    await expectRefused(world, () => attach({ ...second, tailnetName: 'acme-corp-staging' })(world), {
      code: 'HOSTNAME_TAKEN',
      paths: ['config.hostname'],
    });
    await expect(attach({ ...second, config: { hostname: 'second' } })(world)).resolves.toMatchObject({ status: 'attaching' });
  });

  it('bug: of two attaches at once with one hostname, the second; their devices could not be told apart', async () => {
    await using world = await openWorld();
    await world.addBook({ name: 'second' });
    const results = await Promise.allSettled([attach({})(world), attach({ bookDeploymentId: 'second' })(world)]);
    expect(results.map((result) => (result.status === 'rejected' ? result.reason.code : 'attached'))).toEqual(['attached', 'HOSTNAME_TAKEN']);
    expect(await world.sidecars()).toHaveLength(1);
  });

  it('bug: the same by way of two tailnets that lead to the same place', async () => {
    await using world = await openWorld();
    await world.manager.createTailnet({ ...ACME, tailnetName: 'acme-corp-staging' });
    await world.addBook({ name: 'second' });
    const other = { bookDeploymentId: 'second', tailnetName: 'acme-corp-staging' };
    const results = await Promise.allSettled([attach({})(world), attach(other)(world)]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('a field that another manager holds, and says whose it is', async () => {
    await using world = await openWorld();
    await world.cluster.changeWorkload(world.book, { manager: 'argocd', labels: { 'bifrost.dev/sidecar-id': 'theirs' } });
    const error = await expectRefused(world, () => attach({})(world), { code: 'FIELD_CONFLICT' });
    expect(error.details).toEqual({ manager: 'argocd' });
    expect(error.issues[0]?.path).toContain('sidecar-id');
  });

  it('a namespace whose pod security forbids NET_ADMIN; twin: one that does not', async () => {
    await using world = await openWorld();
    await world.cluster.createNamespace({ name: 'acme-corp', customerId: 'acme-corp', enforce: 'baseline' });
    await expectRefused(world, () => attach({})(world), { code: 'POD_SECURITY_FORBIDDEN', paths: ['bookDeploymentId'] });
    await world.cluster.createNamespace({ name: 'acme-corp', customerId: 'acme-corp', enforce: 'privileged' });
    await expect(attach({})(world)).resolves.toMatchObject({ status: 'attaching' });
  });

  it.each([
    ['the node network', { hostNetwork: true }, 'WORKLOAD_UNSUPPORTED', 'spec.template.spec.hostNetwork'],
    [
      'a hand-made tailscale container',
      {
        containers: [
          { name: 'book', image: 'book' },
          { name: 'tailscale', image: 'tailscale/tailscale' },
        ],
      },
      'SIDECAR_EXISTS',
      'spec.template.spec.containers.1',
    ],
    [
      'a container of one of our names',
      { initContainers: [{ name: 'bifrost-guard', image: 'x' }] },
      'FIELD_CONFLICT',
      'spec.template.spec.initContainers.0.name',
    ],
    ['a volume of one of our names', { volumes: [{ name: 'bifrost-key', emptyDir: {} }] }, 'FIELD_CONFLICT', 'spec.template.spec.volumes.0.name'],
  ])('a pod with %s', async (_, spec, code, path) => {
    await using world = await openWorld();
    await world.cluster.updateWorkload(world.book, (template) => ({ ...template, spec: { ...template.spec, ...spec } }));
    await expectRefused(world, () => attach({})(world), { code, paths: [path] });
    expect(await refusal(world.manager.planAttach(BOOK))).toMatchObject({ code });
  });

  it('a cluster that does not tell its ranges; twin: the option', async () => {
    await using world = await openWorld({ knowsRanges: false });
    await expectRefused(world, () => attach({})(world), { code: 'CLUSTER_RANGES_UNKNOWN', paths: ['clusterRanges'] });
    await world.restart({ clusterRanges: { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: [] } });
    await expect(attach({})(world)).resolves.toMatchObject({ status: 'attaching' });
  });

  it('bug: the successor of a deleted workload of the same name, until the old sidecar is gone', async () => {
    await using world = await openWorld();
    const first = await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    await world.cluster.deleteWorkload(world.book);
    await world.addBook();
    expect(await refusal(world.manager.attachSidecar(BOOK))).toMatchObject({ code: 'SIDECAR_EXISTS', issues: [{ path: 'bookDeploymentId' }] });
    await world.until(async () => (await world.sidecars()).length === 0);
    const second = await world.manager.attachSidecar(BOOK);
    expect(second.sidecarId).not.toBe(first.sidecarId);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    expect(await world.outside()).toEqual({ devices: 1, keys: 1, secrets: 1, tailnets: 0 });
  });
});
