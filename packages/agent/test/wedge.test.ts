import { getEventListeners } from 'node:events';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Look, Wedge } from '../src/domain/wedge.ts';
import { WedgeGuard } from '../src/wedge-guard.ts';
import { FakeLocalApi, handClock, surroundings, unavailable } from './support/fake-local-api.ts';

const LIMITS = { silenceMs: 60_000, noStateMs: 180_000, episodesPerHour: 3 };
const HOUR_MS = 3_600_000;

describe('Wedge: what is suspicious', () => {
  const after = (...looks: readonly (readonly [Look, number])[]): Wedge => {
    const wedge = new Wedge(LIMITS);
    for (const [look, atMs] of looks) wedge.observe(look, atMs);
    return wedge;
  };
  it.each<readonly [string, Wedge, number, string | undefined]>([
    ['a daemon that answers', after(['answer', 0]), 1e9, undefined],
    ['silence of one that never answered: it may be starting', after(['silence', 0], ['silence', 3_000]), 1e9, undefined],
    ['silence after an answer, not for long enough', after(['answer', 0], ['silence', 3_000]), 62_999, undefined],
    ['silence after an answer, from its first on', after(['answer', 0], ['silence', 3_000], ['silence', 40_000]), 63_000, 'silence'],
    ['an answer between', after(['answer', 0], ['silence', 3_000], ['answer', 50_000], ['silence', 53_000]), 100_000, undefined],
    ['an error between: it answered', after(['answer', 0], ['silence', 3_000], ['other', 50_000], ['silence', 53_000]), 100_000, undefined],
    ['nobody there between: it is another one now', after(['answer', 0], ['silence', 3_000], ['gone', 50_000], ['silence', 53_000]), 1e9, undefined],
    ['nobody there', after(['answer', 0], ['gone', 3_000]), 1e9, undefined],
    ['errors alone', after(['answer', 0], ['other', 3_000]), 1e9, undefined],
    ['no state, not for long enough', after(['no-state', 0]), 179_999, undefined],
    ['no state for long', after(['no-state', 0], ['no-state', 100_000]), 180_000, 'no-state'],
    ['no state, errors between', after(['no-state', 0], ['other', 100_000]), 180_000, 'no-state'],
    ['a state between', after(['no-state', 0], ['answer', 100_000], ['no-state', 110_000]), 200_000, undefined],
  ])('%s', (_, wedge, nowMs, expected) => {
    expect(wedge.suspicion(nowMs)).toBe(expected);
    expect(wedge.dueInMs(nowMs) === 0).toBe(expected !== undefined);
    expect(wedge.verdict).toBe('fine'); // a suspicion is no verdict
  });

  it('dismissed: its time starts again', () => {
    const wedge = after(['answer', 0], ['silence', 0]);
    wedge.dismiss(60_000);
    expect([wedge.suspicion(119_999), wedge.suspicion(120_000)]).toEqual([undefined, 'silence']);
  });
  it('confirmed: an episode lasts until the daemon answers or is gone', () => {
    for (const end of ['answer', 'gone', 'no-state', 'other'] as const) {
      const wedge = after(['answer', 0], ['silence', 0]);
      wedge.confirm('silence', 60_000);
      wedge.observe('silence', 70_000);
      expect([wedge.verdict, wedge.dueInMs(70_000), wedge.episodes]).toEqual(['wedged', Number.POSITIVE_INFINITY, 1]);
      wedge.observe(end, 80_000);
      expect(wedge.verdict).toBe('fine');
    }
    const stateless = after(['no-state', 0]);
    stateless.confirm('no-state', 180_000);
    for (const look of ['no-state', 'other', 'silence'] as const) stateless.observe(look, 190_000);
    expect(stateless.verdict).toBe('wedged');
    stateless.observe('answer', 191_000);
    expect(stateless.verdict).toBe('fine');
  });
  it('three episodes within an hour, and no more until the first is an hour old', () => {
    const wedge = new Wedge(LIMITS);
    const episode = (fromMs: number): string => {
      wedge.observe('answer', fromMs);
      wedge.observe('silence', fromMs);
      wedge.confirm('silence', fromMs + 60_000);
      return wedge.verdict;
    };
    expect([0, 600_000, 1_200_000, 1_800_000].map(episode)).toEqual(['wedged', 'wedged', 'wedged', 'limited']);
    expect([wedge.episodes, wedge.suspicion(60_000 + HOUR_MS - 1), wedge.suspicion(60_000 + HOUR_MS)]).toEqual([3, undefined, 'silence']);
    wedge.confirm('silence', 60_000 + HOUR_MS);
    expect([wedge.verdict, wedge.episodes]).toEqual(['wedged', 4]);
  });
});

function guarding(limits = LIMITS) {
  const clock = handClock();
  const localApi = new FakeLocalApi();
  const state = { control: true, controlUrls: [] as string[], changes: 0, logs: [] as string[] };
  const guard = new WedgeGuard({
    ...{ localApi, clock, limits },
    surroundings: surroundings({
      controlAnswers: async (url) => {
        state.controlUrls.push(url);
        return state.control;
      },
    }),
    logger: { log: (_, message, fields = {}) => void state.logs.push(`${message} ${fields['because']}`) },
    onChange: () => {
      state.changes += 1;
    },
  });
  const stop = new AbortController();
  const reason = new Error('left');
  const running = guard.run({ signal: stop.signal });
  running.catch(() => {});
  onTestFinished(async () => {
    stop.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  });
  const silent = () => {
    guard.note('answer');
    guard.note('silence');
    clock.advance(60_000);
    guard.note('silence');
  };
  return { guard, clock, localApi, state, silent };
}

describe('WedgeGuard: confirms before it says so', () => {
  it('silence: asks once more on a connection of its own, and says wedged where nothing comes', async () => {
    const { guard, localApi, state, silent } = guarding();
    localApi.answersIs = false;
    silent();
    await vi.waitFor(() => expect(guard.isWedged).toBe(true));
    expect([localApi.asked, guard.signs, state.changes, state.logs]).toEqual([['answers'], ['daemon-wedged'], 1, ['daemon is wedged silence']]);
    guard.note('gone');
    expect([guard.isWedged, guard.signs, guard.episodes]).toEqual([false, [], 1]);
  });
  it('a daemon that is merely slow with its long answer is not wedged', async () => {
    const { guard, clock, localApi, state, silent } = guarding();
    silent();
    await vi.waitFor(() => expect(localApi.asked).toEqual(['answers']));
    clock.advance(60_000);
    guard.note('silence');
    await vi.waitFor(() => expect(localApi.asked).toEqual(['answers', 'answers'])); // its time began again
    expect([guard.isWedged, guard.signs, state.logs]).toEqual([false, [], []]);
  });
  it('said often enough: ok again, with a sign that says so', async () => {
    const { guard, localApi, state, silent } = guarding({ ...LIMITS, episodesPerHour: 1 });
    localApi.answersIs = false;
    silent();
    await vi.waitFor(() => expect(guard.isWedged).toBe(true));
    guard.note('gone');
    silent();
    await vi.waitFor(() => expect(guard.signs).toEqual(['wedge-limit']));
    expect([guard.isWedged, guard.episodes, state.logs.length]).toEqual([false, 1, 2]);
  });

  const stateless = (world: ReturnType<typeof guarding>): void => {
    world.guard.note('no-state');
    world.clock.advance(180_000);
    world.guard.note('no-state');
  };
  it('no state while the control plane answers us: wedged', async () => {
    const world = guarding();
    world.localApi.prefsIs = { advertisedRoutes: [], wantsToRun: true, controlUrl: 'http://control' };
    stateless(world);
    await vi.waitFor(() => expect(world.guard.isWedged).toBe(true));
    expect(world.state.controlUrls).toEqual(['http://control']);
  });
  it.each([
    ['the control plane does not answer', { control: false, prefs: undefined }],
    ['nobody has told it to run', { control: true, prefs: { advertisedRoutes: [], wantsToRun: false, controlUrl: '' } }],
    ['its settings cannot be read', { control: true, prefs: unavailable('status-500') }],
  ])('no state, and %s: not wedged', async (_, { control, prefs }) => {
    const world = guarding();
    world.state.control = control;
    if (prefs !== undefined) world.localApi.prefsIs = prefs;
    stateless(world);
    await vi.waitFor(() => expect(world.localApi.asked).toEqual(['prefs']));
    world.clock.advance(180_000);
    world.guard.note('no-state');
    await vi.waitFor(() => expect(world.localApi.asked).toEqual(['prefs', 'prefs'])); // of a wedged one it would not ask again
    expect([world.guard.isWedged, world.guard.episodes]).toEqual([false, 0]);
  });
});
