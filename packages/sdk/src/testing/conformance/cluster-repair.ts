import { expect, it, vi } from 'vitest';
import { LABELS } from '../../domain/names.ts';
import type { ContainerShape, PodTemplateShape, SidecarFragment } from '../../domain/pod-shape.ts';
import type { WorkloadChange } from '../../ports/cluster.ts';
import { FORMS, type FormCase } from './cluster-attach.ts';
import { bench, type ClusterBench, call, change, fresh, namesOf, type OpenCluster, ownInitContainer, present } from './cluster-support.ts';
import { exampleFragment } from './store-examples.ts';

const OTHER_IMAGE = `registry.example/other@sha256:${'2'.repeat(64)}`;
const repairing = () => ({ ...call(), repair: true });

export function describeRepair(open: OpenCluster): void {
  describeLastWriter(open);
  for (const form of FORMS) {
    it(`C46 (${form.title}): what another manager applied inside an item of ours is a conflict, and is taken back by repair`, () =>
      bench(open, (parts) => appliedInside(parts, form)));
    it(`C47 (${form.title}): what an edit changed, added and removed inside items of ours is taken back by repair, and nothing else`, () =>
      bench(open, (parts) => editedInside(parts, form)));
    it(`C48 (${form.title}): items of ours that an edit took out come back, without repair`, () => bench(open, (parts) => tookOut(parts, form)));
    it(`C49 (${form.title}): detach takes out items that an edit has changed, whole`, () => bench(open, (parts) => detachEdited(parts, form)));
    it(`C50 (${form.title}): repair takes nothing that another manager made`, () => bench(open, (parts) => foreignMade(parts, form)));
    it(`C51 (${form.title}): variables go into the book’s own containers, change with the fragment, and leave no trace`, () =>
      bench(open, (parts) => variables(parts, form)));
  }
  describeForms(open);
}

function describeLastWriter(open: OpenCluster): void {
  it('C45: the last writer is who else wrote the template: not we, nor who annotates or scales', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      const reference = await workload();
      const lastWriter = async (): Promise<string | undefined> => (await present(cluster, reference)).lastWriter;
      const creator = await lastWriter();
      expect(creator).toMatch(/./);
      await admin.annotateWorkload(reference, { 'suite.example/note': 'x' });
      await admin.runPods?.(reference);
      expect(await lastWriter()).toBe(creator);
      // A cluster may note times in whole seconds only: the change is made again until it is the newest.
      await vi.waitFor(
        async () => {
          await admin.changeWorkload(reference, { manager: 'suite-rival', annotations: { 'suite.example/note': fresh('x') } });
          expect(await lastWriter()).toBe('suite-rival');
        },
        { timeout: 10_000, interval: 250 },
      );
      await cluster.workloads.attach(change(reference), call());
      expect(['suite-rival', 'unknown']).toContain(await lastWriter());
      // Who takes all of ours away leaves no trace: that is never said to be who made the workload.
      await admin.updateWorkload(reference, 'suite-edit', ({ spec: { initContainers: _, volumes: __, ...spec }, metadata }) => ({
        metadata: {
          ...metadata,
          labels: Object.fromEntries(Object.entries(metadata?.labels ?? {}).filter(([key]) => key !== LABELS.sidecarId)),
          annotations: {},
        },
        spec,
      }));
      expect(['suite-rival', 'unknown']).toContain(await lastWriter());
    }));
}

async function attached({ cluster, admin, workload }: ClusterBench, { form, request }: FormCase) {
  const reference = await workload(request);
  const before = await admin.readWorkload(reference);
  const wanted = change(reference, { form });
  await cluster.workloads.attach(wanted, call());
  return { wanted, reference, before, after: await admin.readWorkload(reference) };
}

async function refused(
  { cluster, admin }: ClusterBench,
  wanted: WorkloadChange,
  { manager, path }: { manager: string; path: RegExp },
): Promise<void> {
  const before = await admin.readWorkload(wanted.workload);
  for (const options of [call(), { ...call(), dryRun: true }]) {
    const error = await cluster.workloads.attach(wanted, options).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'FIELD_CONFLICT', details: { manager } });
    expect((error as { issues: { path: string }[] }).issues.map((issue) => issue.path)).toContainEqual(expect.stringMatching(path));
  }
  expect(await admin.readWorkload(wanted.workload)).toEqual(before);
}

async function appliedInside(parts: ClusterBench, form: FormCase): Promise<void> {
  const { cluster, admin } = parts;
  const { wanted, reference, before, after } = await attached(parts, form);
  const outside = { 'suite.example/note': 'theirs' };
  await admin.changeWorkload(reference, { manager: 'suite-rival', initContainers: [ownInitContainer('tailscale')], annotations: outside });
  await refused(parts, wanted, { manager: 'suite-rival', path: /^spec\.template\.spec\.initContainers\[name="tailscale"\]\.image$/ });
  await cluster.workloads.attach(wanted, repairing());
  const annotated = (template: PodTemplateShape): PodTemplateShape => ({
    ...template,
    metadata: { ...template.metadata, annotations: { ...template.metadata?.annotations, ...outside } },
  });
  expect(await admin.readWorkload(reference)).toEqual(annotated(after));
  await cluster.workloads.detach(wanted, call());
  expect(await admin.readWorkload(reference)).toEqual(annotated(before));
}

const inTailscale =
  (edit: (container: ContainerShape) => ContainerShape) =>
  (template: PodTemplateShape): PodTemplateShape => ({
    ...template,
    spec: {
      ...template.spec,
      initContainers: (template.spec.initContainers ?? []).map((container) => (container.name === 'tailscale' ? edit(container) : container)),
    },
  });

/** One of each: another value, something more, something less, in a container, a volume and a label. */
function disturbed(template: PodTemplateShape): PodTemplateShape {
  const changed = inTailscale((container) => ({
    ...container,
    image: OTHER_IMAGE,
    command: ['/bin/false'],
    env: [...(container.env ?? []), { name: 'TS_EXTRA', value: 'theirs' }],
    volumeMounts: [],
  }))(template);
  return {
    ...changed,
    metadata: { ...changed.metadata, labels: { ...changed.metadata?.labels, [LABELS.sidecarId]: 'edited' } },
    spec: {
      ...changed.spec,
      volumes: (changed.spec.volumes ?? []).map((volume) =>
        volume.name === 'bifrost-tailscale-state' ? { name: volume.name, emptyDir: {} } : volume,
      ),
    },
  };
}

async function editedInside(parts: ClusterBench, form: FormCase): Promise<void> {
  const { cluster, admin } = parts;
  const { wanted, reference, after } = await attached(parts, form);
  await admin.updateWorkload(reference, 'suite-edit', disturbed);
  const edited = await admin.readWorkload(reference);
  expect(edited).not.toEqual(after);
  await refused(parts, wanted, { manager: 'suite-edit', path: /initContainers\[name="tailscale"\]\.image$/ });
  await cluster.workloads.attach(wanted, { ...repairing(), dryRun: true });
  expect(await admin.readWorkload(reference)).toEqual(edited);
  for (let turn = 0; turn < 2; turn += 1) {
    await cluster.workloads.attach(wanted, repairing());
    expect(await admin.readWorkload(reference)).toEqual(after);
  }
}

async function tookOut(parts: ClusterBench, form: FormCase): Promise<void> {
  const { cluster, admin } = parts;
  const { wanted, reference, before, after } = await attached(parts, form);
  await admin.updateWorkload(reference, 'suite-edit', ({ metadata, ...template }) => {
    const { [LABELS.sidecarId]: _, ...labels } = metadata?.labels ?? {};
    const initContainers = (template.spec.initContainers ?? []).filter(({ name }) => name !== 'tailscale');
    return { metadata: { ...metadata, labels }, spec: { ...template.spec, initContainers } };
  });
  expect(await admin.readWorkload(reference)).not.toEqual(after);
  await cluster.workloads.attach(wanted, call());
  expect(await admin.readWorkload(reference)).toEqual(after);
  await cluster.workloads.detach(wanted, call());
  expect(await admin.readWorkload(reference)).toEqual(before);
}

async function detachEdited(parts: ClusterBench, form: FormCase): Promise<void> {
  const { cluster, admin } = parts;
  const { wanted, reference, before } = await attached(parts, form);
  await admin.updateWorkload(reference, 'suite-edit', disturbed);
  await cluster.workloads.detach(wanted, call());
  expect(await admin.readWorkload(reference)).toEqual(before);
}

async function foreignMade(parts: ClusterBench, { form, request }: FormCase): Promise<void> {
  const { cluster, admin, workload } = parts;
  const reference = await workload(request);
  const whole = change(reference, { form });
  const small: SidecarFragment = { ...whole.fragment, initContainers: whole.fragment.initContainers.slice(0, 1) };
  await cluster.workloads.attach({ ...whole, fragment: small }, call());
  await admin.changeWorkload(reference, { manager: 'suite-rival', initContainers: [ownInitContainer('tailscale')] });
  const before = await admin.readWorkload(reference);
  const attempt = cluster.workloads.attach(whole, repairing());
  await expect(attempt).rejects.toMatchObject({ code: 'FIELD_CONFLICT', details: { manager: 'suite-rival' } });
  expect(await admin.readWorkload(reference)).toEqual(before);
}

const environmentOf = ({ spec }: PodTemplateShape, name: string) =>
  [...(spec.initContainers ?? []), ...spec.containers].find((container) => container.name === name)?.env;

async function variables({ cluster, admin, workload }: ClusterBench, { form, request }: FormCase): Promise<void> {
  const reference = await workload(request);
  const theirs = [{ name: 'BOOK_OWN', value: 'x' }];
  for (const env of [undefined, theirs]) {
    const withEnvironment = env === undefined ? {} : { env };
    await admin.updateWorkload(reference, 'suite-edit', ({ metadata, spec }) => ({
      ...(metadata && { metadata }),
      spec: { ...spec, containers: spec.containers.map((container) => ({ ...container, ...withEnvironment })) },
    }));
    const before = await admin.readWorkload(reference);
    const books = ['book', ...namesOf(request.initContainers), 'not-there'];
    const proxied = (value: string): SidecarFragment => ({
      ...exampleFragment(crypto.randomUUID()),
      containers: books.map((name) => ({
        name,
        env: [
          { name: 'HTTP_PROXY', value },
          { name: 'NO_PROXY', value: 'localhost' },
        ],
      })),
    });
    for (const value of ['http://127.0.0.1:1', 'http://127.0.0.1:2']) {
      const fragment = { ...proxied(value), labels: { [LABELS.sidecarId]: 'one' } };
      await cluster.workloads.attach({ workload: reference, form, fragment }, call());
      const after = await admin.readWorkload(reference);
      const ours = [
        { name: 'HTTP_PROXY', value },
        { name: 'NO_PROXY', value: 'localhost' },
      ];
      expect(environmentOf(after, 'book')).toEqual([...(env ?? []), ...ours]);
      for (const { name } of request.initContainers ?? []) expect(environmentOf(after, name)).toEqual(ours);
      expect(namesOf(after.spec.containers)).toEqual(['book']);
    }
    const last = proxied('http://127.0.0.1:2');
    await admin.updateWorkload(reference, 'suite-edit', ({ metadata, spec }) => ({
      ...(metadata && { metadata }),
      spec: {
        ...spec,
        containers: spec.containers.map((container) => ({
          ...container,
          env: container.env?.map((one) => (one.name === 'HTTP_PROXY' ? { ...one, value: 'edited' } : one)) ?? [],
        })),
      },
    }));
    const fragment = { ...last, labels: { [LABELS.sidecarId]: 'one' } };
    await expect(cluster.workloads.attach({ workload: reference, form, fragment }, call())).rejects.toMatchObject({
      code: 'FIELD_CONFLICT',
      issues: [{ path: 'spec.template.spec.containers[name="book"].env[name="HTTP_PROXY"].value' }],
    });
    await cluster.workloads.attach({ workload: reference, form, fragment }, repairing());
    expect(environmentOf(await admin.readWorkload(reference), 'book')).toContainEqual({ name: 'HTTP_PROXY', value: 'http://127.0.0.1:2' });
    await cluster.workloads.detach({ workload: reference, form, fragment }, call());
    expect(await admin.readWorkload(reference)).toEqual(before);
  }
}

function describeForms(open: OpenCluster): void {
  it.each([
    ['apply', 'prepend'],
    ['prepend', 'apply'],
  ] as const)('C52: a fragment that came in by %s is replaced whole by %s, and goes', (first, second) =>
    bench(open, async ({ cluster, admin, workload }) => {
      const reference = await workload();
      const before = await admin.readWorkload(reference);
      const sidecarId = crypto.randomUUID();
      const later = exampleFragment(sidecarId, { image: OTHER_IMAGE });
      const guard = { name: 'bifrost-guard', image: OTHER_IMAGE };
      const earlier: SidecarFragment = { ...exampleFragment(sidecarId), initContainers: [guard, ...exampleFragment(sidecarId).initContainers] };
      await cluster.workloads.attach({ workload: reference, form: first, fragment: earlier }, call());
      expect(namesOf((await admin.readWorkload(reference)).spec.initContainers)).toEqual(['bifrost-guard', 'bifrost-agent', 'tailscale']);
      await cluster.workloads.attach({ workload: reference, form: second, fragment: later }, call());
      const after = await admin.readWorkload(reference);
      expect(namesOf(after.spec.initContainers)).toEqual(['bifrost-agent', 'tailscale']);
      expect(after.spec.initContainers?.[1]?.image).toBe(OTHER_IMAGE);
      await cluster.workloads.detach({ workload: reference, form: second, fragment: later }, call());
      expect(await admin.readWorkload(reference)).toEqual(before);
    }),
  );

  it.each(['apply', 'prepend'] as const)(
    'C53: where the book got init containers of its own in front of ours, that came in by %s, prepend puts ours first',
    (form) =>
      bench(open, async ({ cluster, admin, workload }) => {
        const reference = await workload();
        const wanted = change(reference, { form });
        await cluster.workloads.attach(wanted, call());
        await admin.updateWorkload(reference, 'suite-edit', ({ metadata, spec }) => ({
          ...(metadata && { metadata }),
          spec: { ...spec, initContainers: [ownInitContainer('own'), ...(spec.initContainers ?? [])] },
        }));
        await cluster.workloads.attach({ ...wanted, form: 'prepend' }, call());
        expect(namesOf((await admin.readWorkload(reference)).spec.initContainers)).toEqual(['bifrost-agent', 'tailscale', 'own']);
        await cluster.workloads.detach({ ...wanted, form: 'prepend' }, call());
        expect(namesOf((await admin.readWorkload(reference)).spec.initContainers)).toEqual(['own']);
      }),
  );

  it('C54: detach of a fragment whose place another attachment has taken leaves that alone', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      const reference = await workload();
      const [gone, there] = [change(reference), change(reference)];
      await cluster.workloads.attach(gone, call());
      await cluster.workloads.detach(gone, call());
      await cluster.workloads.attach(there, call());
      const carried = await admin.readWorkload(reference);
      for (const form of ['apply', 'prepend'] as const) await cluster.workloads.detach({ ...gone, form }, call());
      expect(await admin.readWorkload(reference)).toEqual(carried);
    }));
}
