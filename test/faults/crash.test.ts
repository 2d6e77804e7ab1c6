import { beforeAll, describe, expect, it } from 'vitest';
import { type Result, runCampaign, TENANCIES } from './support/campaign.ts';
import { describePoint, MOMENTS, nameOf, OPERATIONS } from './support/points.ts';
import { Chance, seedOf } from './support/seeded.ts';
import { stepsOf } from './support/steps.ts';

const seed = seedOf(process.env['BIFROST_FAULTS_SEED']);
/** So long, in seconds, goes on what need not be tried each time. */
const seconds = Number(process.env['BIFROST_FAULTS_SECONDS'] ?? 240);
const say = (text: string): void => void process.stderr.write(`faults: crash (seed ${seed}): ${text}\n`);

let result: Result;
beforeAll(async () => {
  const begun = performance.now();
  result = await runCampaign({ chance: new Chance(seed), worlds: 2, livesPerWorld: 8, limitMs: seconds * 1_000, tell: say });
  const { calls, hit, missed, uncertain, untried, deaths } = result;
  for (const point of missed) say(`not come to again: ${describePoint(point)}`);
  say(
    `${calls.length} calls of ${TENANCIES.length} clean lives; died at ${hit.length} of ${calls.length * MOMENTS.length} points, in ${deaths} processes`,
  );
  say(
    `${missed.length} were not come to again, ${uncertain} come not in every life, for ${untried.length} there was no time; ${Math.round((performance.now() - begun) / 1000)} s in all`,
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

  it.each([...OPERATIONS.keys()])('%s', (operation) => {
    expect([...result.reached], 'a life comes to it').toContain(operation);
    const moments = result.hit.filter((point) => nameOf(point) === operation).map(({ moment }) => moment);
    expect([...new Set(moments)].sort(), 'managers died at it').toEqual([...MOMENTS].sort());
  });

  it('no request is nameless, and none has a name that the lists do not know', () => {
    expect([...result.reached].filter((operation) => !OPERATIONS.has(operation))).toEqual([]);
  });
});
