import { createRequire } from 'node:module';
import { compilePolicy, mergePolicy, type PolicyMember, proveIsolation } from '@bifrost/sdk';
import { managedPod } from '../support/managed-pod.ts';
import { type BenchOptions, type BenchResult, median, percentile, rounded } from './harness.ts';
import { judgedMs, provenInstallation } from './policy-installation.ts';

const NETWORKS = 50;
const isOurs = (tag: string): boolean => tag.startsWith('tag:bifrost-');

const networksOf = (customer: number): readonly string[] =>
  Array.from({ length: NETWORKS }, (_, network) => `10.${customer % 256}.${network * 4}.0/22`);

/** A customer whose networks others have too, with something blocked inside them. */
const memberOf = (_: unknown, customer: number): PolicyMember => ({
  sourceTags: [`tag:bifrost-customer-${customer}`],
  routerTag: `tag:bifrost-router-${customer}`,
  books: [],
  config: {
    allowedNetworks: networksOf(customer),
    blockedNetworks: [`10.${customer % 256}.3.0/26`, '169.254.0.0/16'],
    accessPolicy: 'standard',
    enableLogging: false,
  },
});

/** Milliseconds to compile one tailnet of so many customers, to put it into its file, and to prove from the file that they are apart. */
function round(customers: number): number {
  const members = Array.from({ length: customers }, memberOf);
  const fromMs = performance.now();
  const text = mergePolicy('{}', compilePolicy({ members, shared: true }), isOurs);
  const open = proveIsolation(
    text,
    members.map(({ sourceTags, routerTag, config }, index) => ({
      ...{ customerId: `customer-${index}`, tags: [...sourceTags, routerTag] },
      ...{ addresses: [`100.64.${index >> 8}.${index & 255}`], networks: config.allowedNetworks },
    })),
  );
  if (open.length > 0) throw new RangeError('the proof does not hold');
  return performance.now() - fromMs;
}

/** `explain` of a real call: it reads devices and policy back each time, here that of a tailnet of so many customers. */
async function explainP99(calls: number, customers: number): Promise<number> {
  await using world = await managedPod({ agentProgram: createRequire(import.meta.url).resolve('@bifrost/agent/agent.cjs'), heartbeatMs: 10_000 });
  const { manager, sidecarId } = world;
  const { tests: _, tagOwners, ...sections } = compilePolicy({ members: Array.from({ length: customers }, memberOf), shared: true });
  const own = { 'tag:bifrost-book': [], 'tag:router': [] };
  await world.setPolicy(JSON.stringify({ ...sections, tagOwners: { ...tagOwners, ...own } }));
  const latenciesMs: number[] = [];
  for (let call = 0; call < calls; call += 1) {
    const fromMs = performance.now();
    await manager.explain({ sidecarId, to: `10.1.${call % 256}.9` });
    latenciesMs.push(performance.now() - fromMs);
  }
  return percentile(latenciesMs.slice(Math.ceil(calls / 10)), 0.99);
}

interface Sizes {
  readonly many: number;
  readonly few: number;
  readonly turns: number;
}

/** As many customers on either side: the many at once, and the few again and again. */
function sides(
  ofMany: () => number,
  ofFew: () => number,
  { many, few, turns }: Sizes,
): { readonly many: readonly number[]; readonly few: readonly number[] } {
  const figures = { many: [] as number[], few: [] as number[] };
  for (let turn = 0; turn < turns; turn += 1) {
    figures.many.push(ofMany());
    for (let again = 0; again < many / few; again += 1) figures.few.push(ofFew());
  }
  return figures;
}

/** The whole proof again, from what was read: policies, identity, guards and NetworkPolicies of customers with a tailnet and a book each. */
async function benchJudged({ many, few, turns }: Sizes, say: BenchOptions['say']) {
  const [ofFew, ofMany] = [await provenInstallation(few, networksOf), await provenInstallation(many, networksOf)];
  for (let warm = 0; warm < 3; warm += 1) judgedMs(ofFew);
  const figures = sides(
    () => judgedMs(ofMany),
    () => judgedMs(ofFew),
    { many, few, turns },
  );
  const [ours, baseline] = [median(figures.many) / many, median(figures.few) / few];
  say(`the whole proof of ${many} customers: ${rounded(median(figures.many))} ms`);
  return { ours: rounded(ours), baseline: rounded(baseline), ratio: rounded(ours / baseline), seconds: rounded(median(figures.many) / 1_000) };
}

/** Compile and prove, per customer, of one tailnet of 1,000 customers with 50 networks each; beside it of one of 100. `judged`: the same of the whole proof. */
export async function benchPolicy({ smoke, say }: BenchOptions): Promise<BenchResult> {
  const [many, few] = smoke ? ([100, 10] as const) : ([1_000, 100] as const);
  const sizes = { many, few, turns: smoke ? 2 : 10 };
  for (let warm = 0; warm < 3; warm += 1) round(few);
  const figures = sides(
    () => round(many),
    () => round(few),
    sizes,
  );
  const [ours, baseline] = [median(figures.many) / many, median(figures.few) / few];
  say(`${many} customers: ${rounded(median(figures.many))} ms`);
  return {
    ...{ name: 'policy', ours: rounded(ours), baseline: rounded(baseline), ratio: rounded(ours / baseline), unit: 'ms per customer' },
    ...{ customers: many, networks: NETWORKS, seconds: rounded(median(figures.many) / 1_000) },
    judged: await benchJudged(sizes, say),
    explain_p99_ms: rounded(await explainP99(smoke ? 100 : 2_000, many)),
  };
}
