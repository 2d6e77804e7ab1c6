import { beforeAll, describe, expect, it } from 'vitest';
import { type Result, runCampaign, TENANCIES } from './support/campaign.ts';
import { type Call, describePoint, MOMENTS, nameOf, OPERATIONS, type Point } from './support/points.ts';
import { Chance, seedOf } from './support/seeded.ts';
import { stepsOf } from './support/steps.ts';

const seed = seedOf(process.env['BIFROST_FAULTS_SEED']);
/** So long, in seconds, goes on what need not be tried each time. */
const seconds = Number(process.env['BIFROST_FAULTS_SECONDS'] ?? 180);
const say = (text: string): void => void process.stderr.write(`faults: crash (seed ${seed}): ${text}\n`);

const byOperation = (points: readonly Point[]): string =>
  Object.entries(Object.groupBy(points, nameOf))
    .map(([operation, of = []]) => `${operation} ${of.length}`)
    .sort()
    .join(', ') || 'none';

/** Of one tenancy, in one step, for a customer or for nobody: what one kind of request is. */
const kindOf = ({ tenancy, step, shared, ...call }: Call): string => `${nameOf(call)} of "${step}" (${tenancy}${shared ? ', for nobody' : ''})`;

let result: Result;
beforeAll(async () => {
  const begun = performance.now();
  result = await runCampaign({ chance: new Chance(seed), worlds: 2, livesPerWorld: 8, limitMs: seconds * 1_000, tell: say });
  const { calls, hit, missed, uncertain, untried, deaths } = result;
  for (const point of missed) say(`not come to again: ${describePoint(point)}`);
  say(`come not in every life, by operation: ${byOperation(uncertain)}`);
  say(`no time, by operation: ${byOperation(untried)}`);
  say(
    `${calls.length} calls of ${TENANCIES.length} clean lives; died at ${hit.length} of ${calls.length * MOMENTS.length} points, in ${deaths} processes`,
  );
  say(
    `${missed.length} were not come to again, ${uncertain.length} come not in every life, for ${untried.length} there was no time; ${Math.round((performance.now() - begun) / 1000)} s in all`,
  );
});

describe('SIGKILL at every outside call, before it and after its effect', () => {
  it('another manager takes over: every life converges, nothing is doubled, nothing is left', () => {
    expect(result.failures.join('\n\n')).toBe('');
  });

  it('clean lives of both tenancies go through every step', () => {
    for (const tenancy of TENANCIES) {
      const recorded = new Set(result.calls.filter((call) => call.tenancy === tenancy).map(({ step }) => step));
      for (const { name } of stepsOf(tenancy)) expect([...recorded]).toContain(name);
    }
  });

  /** How often one kind of request comes depends on when hints do. The first of its kind comes always, if it came to new customers and to known ones. */
  it('what was recorded is come to again', () => {
    expect(result.missed.filter(({ nth }) => nth === 1).map(describePoint)).toEqual([]);
    expect(result.missed.length).toBeLessThanOrEqual(result.hit.length / 20);
  });

  it('every point is accounted for: hit, not come to again, not in every life, or left for want of time', () => {
    const { calls, hit, missed, uncertain, untried } = result;
    const all = [...hit, ...missed, ...uncertain, ...untried];
    expect(all).toHaveLength(calls.length * MOMENTS.length);
    expect(new Set(all).size, 'each once').toBe(all.length);
    expect(untried.filter((point) => OPERATIONS.get(nameOf(point)) !== 'read')).toEqual([]);
  });

  /** It is never left for want of time. What only one of the two recorded lives has asked for, by chance of when hints came, explains the others. */
  it('the first request of each kind is hit, before and after, unless it comes not in every life', () => {
    const { calls, hit, uncertain, untried } = result;
    const firsts = (points: readonly Point[]) => points.filter(({ nth }) => nth === 1).map((point) => `${point.moment} ${kindOf(point)}`);
    expect(firsts(untried)).toEqual([]);
    const explained = new Set(firsts([...hit, ...uncertain]));
    const all = calls.filter(({ nth }) => nth === 1).flatMap((call) => MOMENTS.map((moment) => `${moment} ${kindOf(call)}`));
    expect(all.filter((kind) => !explained.has(kind))).toEqual([]);
    expect(firsts(uncertain).length).toBeLessThanOrEqual(all.length / 10);
  });

  it.each([...OPERATIONS.keys()])('%s', (operation) => {
    expect([...result.reached], 'a life comes to it').toContain(operation);
    const moments = result.hit.filter((point) => nameOf(point) === operation).map(({ moment }) => moment);
    expect([...new Set(moments)].sort(), 'managers died at it').toEqual([...MOMENTS].sort());
  });

  it('no request is nameless, and none has a name that the lists do not know', () => {
    expect([...result.reached].filter((operation) => !OPERATIONS.has(operation))).toEqual([]);
  });
});
