import { expect, it, vi } from 'vitest';
import type { AttachForm } from '../../domain/model.ts';
import type { WorkloadChange } from '../../ports/cluster.ts';
import {
  bench,
  type ClusterBench,
  call,
  carrying,
  change,
  fresh,
  namesOf,
  type OpenCluster,
  ownInitContainer,
  present,
  refusedBook,
  type WorkloadRequest,
} from './cluster-support.ts';
import { exampleFragment } from './store-examples.ts';

const own = { initContainers: [ownInitContainer('own-one'), ownInitContainer('own-two')] };
const ownVolume = { volumes: [{ name: 'own-volume', emptyDir: {} }] };
/** Each form with the workloads that it is for. */
export const FORMS: readonly (FormCase & { readonly title: string })[] = [
  { title: 'apply, Deployment', form: 'apply', request: {} },
  { title: 'apply, Deployment with volumes', form: 'apply', request: ownVolume },
  { title: 'apply, StatefulSet', form: 'apply', request: { kind: 'StatefulSet' } },
  { title: 'apply, DaemonSet', form: 'apply', request: { kind: 'DaemonSet' } },
  { title: 'prepend, Deployment with init containers', form: 'prepend', request: own },
  { title: 'prepend, Deployment with init containers and volumes', form: 'prepend', request: { ...own, ...ownVolume } },
  { title: 'prepend, StatefulSet with init containers', form: 'prepend', request: { ...own, kind: 'StatefulSet' } },
  { title: 'prepend, DaemonSet with init containers', form: 'prepend', request: { ...own, kind: 'DaemonSet' } },
];

export function describeAttach(open: OpenCluster): void {
  for (const { title, form, request } of FORMS) {
    it(`C10 (${title}): attach puts the fragment in, ours first; detach leaves exactly what was before`, () =>
      bench(open, async ({ cluster, admin, workload }) => {
        const reference = await workload(request);
        const before = await admin.readWorkload(reference);
        const wanted = change(reference, { form });
        const answer = await cluster.workloads.attach(wanted, call());
        const after = await admin.readWorkload(reference);
        for (const template of [answer.template, after, (await present(cluster, reference)).template]) {
          expect(template).toMatchObject(carrying(wanted.fragment));
          expect(namesOf(template.spec.initContainers)).toEqual([...namesOf(wanted.fragment.initContainers), ...namesOf(request.initContainers)]);
          expect(namesOf(template.spec.volumes).sort()).toEqual([...namesOf(request.volumes), ...namesOf(wanted.fragment.volumes)].sort());
          expect(template.spec.initContainers?.[1]).toMatchObject(wanted.fragment.initContainers[1] ?? {});
          expect(namesOf(template.spec.containers)).toEqual(['book']);
        }
        await cluster.workloads.detach(wanted, call());
        expect(await admin.readWorkload(reference)).toEqual(before);
      }));

    it(`C11 (${title}): attach twice is a no-op`, () => bench(open, (parts) => attachTwice(parts, { form, request })));

    it(`C12 (${title}): a dry run answers what would be and writes nothing`, () => bench(open, (parts) => dryRun(parts, { form, request })));

    it(`C13 (${title}): detach twice, or of what was never attached, is success and changes nothing`, () =>
      bench(open, async ({ cluster, admin, workload }) => {
        const reference = await workload(request);
        const before = await admin.readWorkload(reference);
        const wanted = change(reference, { form });
        await cluster.workloads.detach(wanted, call());
        expect(await admin.readWorkload(reference)).toEqual(before);
        await cluster.workloads.attach(wanted, call());
        await cluster.workloads.detach(wanted, call());
        await cluster.workloads.detach(wanted, call());
        expect(await admin.readWorkload(reference)).toEqual(before);
      }));

    it(`C14 (${title}): others’ changes before, while and after are kept`, () => bench(open, (parts) => keepOthers(parts, { form, request })));
  }
}

export interface FormCase {
  readonly form: AttachForm;
  readonly request: Partial<WorkloadRequest>;
}

async function attachTwice({ cluster, admin, workload }: ClusterBench, { form, request }: FormCase): Promise<void> {
  const reference = await workload(request);
  const wanted = change(reference, { form });
  await cluster.workloads.attach(wanted, call());
  const attached = await admin.readWorkload(reference);
  // On a real cluster its own controllers may still be writing after the first attach: one quiet round is the proof.
  await vi.waitFor(
    async () => {
      const { version } = await present(cluster, reference);
      expect((await cluster.workloads.attach(wanted, call())).version).toBe(version);
      expect((await present(cluster, reference)).version).toBe(version);
    },
    { timeout: 10_000, interval: 50 },
  );
  expect(await admin.readWorkload(reference)).toEqual(attached);
}

async function dryRun({ cluster, admin, workload }: ClusterBench, { form, request }: FormCase): Promise<void> {
  const reference = await workload(request);
  const before = await admin.readWorkload(reference);
  const wanted = change(reference, { form });
  await vi.waitFor(
    async () => {
      const { version } = await present(cluster, reference);
      const answer = await cluster.workloads.attach(wanted, { ...call(), dryRun: true });
      expect(answer.reference).toEqual(reference);
      expect(answer.template).toMatchObject(carrying(wanted.fragment));
      expect((await present(cluster, reference)).version).toBe(version);
    },
    { timeout: 10_000, interval: 50 },
  );
  expect(await admin.readWorkload(reference)).toEqual(before);
}

async function keepOthers({ cluster, admin, workload }: ClusterBench, { form, request }: FormCase): Promise<void> {
  const reference = await workload(request);
  const note = (value: string) => ({ manager: `suite-${value}`, annotations: { [`suite.example/${value}`]: value } });
  await admin.changeWorkload(reference, note('before'));
  const before = await admin.readWorkload(reference);
  const wanted = change(reference, { form });
  await cluster.workloads.attach(wanted, call());
  await admin.changeWorkload(reference, note('while'));
  await cluster.workloads.attach(wanted, call());
  await cluster.workloads.detach(wanted, call());
  expect(await admin.readWorkload(reference)).toEqual({
    ...before,
    metadata: { ...before.metadata, annotations: { ...before.metadata?.annotations, 'suite.example/while': 'while' } },
  });
}

export function describeConflicts(open: OpenCluster): void {
  it('C15 (apply): a field that another manager holds with another value is FIELD_CONFLICT with its manager and path; nothing is written', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      const reference = await workload();
      await admin.changeWorkload(reference, { manager: 'suite-rival', initContainers: [ownInitContainer('tailscale')] });
      const before = await admin.readWorkload(reference);
      const attempts = [call(), { ...call(), dryRun: true }].map((options) => cluster.workloads.attach(change(reference), options));
      for (const attempt of await Promise.allSettled(attempts)) {
        expect(attempt).toMatchObject({ status: 'rejected', reason: { code: 'FIELD_CONFLICT', details: { manager: 'suite-rival' } } });
        if (attempt.status === 'rejected') expect(attempt.reason.issues[0].path).toMatch(/initContainers.*tailscale.*image/);
      }
      expect(await admin.readWorkload(reference)).toEqual(before);
    }));

  it('C16 (prepend): a container or volume of our name that is not ours is FIELD_CONFLICT with its path; nothing is written', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      const cases = [
        { request: { initContainers: [ownInitContainer('own'), ownInitContainer('tailscale')] }, path: /initContainers.*tailscale/ },
        { request: { ...own, volumes: [{ name: 'bifrost-tailscale-state', emptyDir: {} }] }, path: /volumes.*bifrost-tailscale-state/ },
      ];
      for (const { request, path } of cases) {
        const reference = await workload(request);
        const before = await admin.readWorkload(reference);
        for (const options of [call(), { ...call(), dryRun: true }]) {
          const attempt = cluster.workloads.attach(change(reference, { form: 'prepend' }), options);
          await expect(attempt).rejects.toMatchObject({ code: 'FIELD_CONFLICT', issues: [{ path: expect.stringMatching(path) }] });
        }
        expect(await admin.readWorkload(reference)).toEqual(before);
      }
    }));

  it('C17: an absent workload, or a successor of its name: attach is WORKLOAD_NOT_FOUND, detach is success, the successor is left alone', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      for (const form of ['apply', 'prepend'] as const) {
        const first = await workload(form === 'prepend' ? own : {});
        const wanted: WorkloadChange = change(first, { form });
        await admin.deleteWorkload(first);
        await expect(cluster.workloads.attach(wanted, call())).rejects.toMatchObject(refusedBook('WORKLOAD_NOT_FOUND'));
        await expect(cluster.workloads.attach(wanted, { ...call(), dryRun: true })).rejects.toMatchObject(refusedBook('WORKLOAD_NOT_FOUND'));
        await cluster.workloads.detach(wanted, call());
        const second = await workload({ ...(form === 'prepend' ? own : {}), namespace: first.namespace, name: first.name });
        await expect(cluster.workloads.attach(wanted, call())).rejects.toMatchObject(refusedBook('WORKLOAD_NOT_FOUND'));
        await cluster.workloads.attach(change(second, { form, fragment: wanted.fragment }), call());
        const carried = await admin.readWorkload(second);
        await cluster.workloads.detach(wanted, call());
        expect(await admin.readWorkload(second)).toEqual(carried);
      }
    }));
}

export function describeAdmit(open: OpenCluster): void {
  const netAdmin = exampleFragment(crypto.randomUUID(), { netAdmin: true });
  const harmless = exampleFragment(crypto.randomUUID());

  it('C18: admit passes where nothing is enforced, and writes nothing', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      const reference = await workload();
      const before = await admin.readWorkload(reference);
      await cluster.workloads.admit(await present(cluster, reference), netAdmin, call());
      expect(await admin.readWorkload(reference)).toEqual(before);
    }));

  it('C19: pod security that forbids the fragment is POD_SECURITY_FORBIDDEN; twin: a harmless fragment passes there', () =>
    bench(open, async ({ cluster, workload, namespace }) => {
      const enforcing = await namespace({ customerId: 'acme-corp', enforce: 'baseline' });
      for (const kind of ['Deployment', 'StatefulSet'] as const) {
        const book = await present(cluster, await workload({ kind, namespace: enforcing, name: fresh('book') }));
        await expect(cluster.workloads.admit(book, netAdmin, call())).rejects.toMatchObject(refusedBook('POD_SECURITY_FORBIDDEN'));
        await cluster.workloads.admit(book, harmless, call());
      }
    }));
}
