import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Monitored, next, take, told } from './support/history.ts';

const numbers = (from: number, count: number): readonly string[] => Array.from({ length: count }, (_, index) => String(from + index));
const tokenOf = async (iterator: Parameters<typeof next>[0]): Promise<string> => (await next(iterator)).resumeToken ?? '';

describe('a stream of connectivity events', () => {
  it('begins when it is opened, not when it is first read, and gives events in order', async () => {
    const monitored = new Monitored();
    monitored.happen();
    const stream = monitored.open();
    monitored.happen();
    const taking = take(stream, 3);
    monitored.happen();
    monitored.happen();
    expect(await taking).toEqual(['1', '2', '3']);
  });

  it.each(['break', 'throw', 'abort while waiting', 'abort before'])('%s leaves no listener, no sleeper, no follower', async (way) => {
    const monitored = new Monitored();
    const stop = new AbortController();
    const reason = new RangeError('enough');
    let followers = 0;
    const follow = monitored.history.follow.bind(monitored.history);
    monitored.history.follow = (follower) => {
      followers += 1;
      const following = follow(follower);
      return {
        [Symbol.dispose]: () => {
          followers -= 1;
          following[Symbol.dispose]();
        },
      };
    };
    if (way === 'abort before') stop.abort(reason);
    const stream = monitored.open({ heartbeatMs: 1_000 }, stop.signal);
    const read = async (): Promise<void> => {
      for await (const item of { [Symbol.asyncIterator]: () => stream }) {
        if ('heartbeat' in item) continue;
        if (way === 'break') return;
        throw reason;
      }
    };
    const reading = read().catch((error: unknown) => error);
    await monitored.clock.advance(0);
    expect(followers).toBe(way === 'abort before' ? 0 : 1);
    if (way === 'abort while waiting') stop.abort(reason);
    else monitored.happen();
    expect(await reading).toBe(way === 'break' ? undefined : reason);
    await monitored.clock.advance(0);
    expect([followers, monitored.clock.sleepers, getEventListeners(stop.signal, 'abort').length]).toEqual([0, 0, 0]);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it('is one object per event for all readers, frozen', async () => {
    const monitored = new Monitored();
    const streams = [monitored.open(), monitored.open({ customerIds: ['acme'] })];
    monitored.happen();
    const [first, second] = await Promise.all(streams.map(next));
    expect(first).toBe(second);
    expect(Object.isFrozen(first)).toBe(true);
    expect(first !== undefined && 'details' in first && Object.isFrozen(first.details)).toBe(true);
  });

  it.each([
    [{ tailnetName: 'globex' }, ['1', '3']],
    [{ customerIds: ['globex', 'initech'] }, ['1', '2', '3']],
    [{ sidecarId: 'sidecar-initech' }, ['2']],
    [{ eventTypes: ['disconnected', 'error'] }, ['3', '4']],
    [{ customerIds: ['acme'], eventTypes: ['error'] }, ['4']],
    [{ customerIds: ['acme'], tailnetName: 'globex' }, []],
    [{ customerIds: [] }, []], // nobody's: never everybody's
  ] as const)('lets through what %j says', async (filter, expected) => {
    const monitored = new Monitored();
    const stream = monitored.open({ ...filter, heartbeatMs: 1_000 });
    for (const customer of ['acme', 'globex', 'initech']) monitored.happen(customer);
    monitored.happen('globex', 'instance:disconnected');
    monitored.happen('acme', 'instance:lost');
    expect(await take(stream, Math.max(1, expected.length))).toEqual(expected.length > 0 ? expected : ['-']);
    const more = take(stream, 1);
    await monitored.clock.advance(1_000);
    expect(await more).toEqual(['-']);
  });

  it.each<readonly [object, string]>([
    [{ eventTypes: [] }, 'eventTypes'],
    [{ eventTypes: ['lost'] }, 'eventTypes.0'],
    [{ tailnetName: 'Acme Corp' }, 'tailnetName'],
    [{ customerIds: ['acme', ''] }, 'customerIds.1'],
    [{ sidecarId: '' }, 'sidecarId'],
    [{ heartbeatMs: 1 }, 'heartbeatMs'],
    [{ customerId: 'acme' }, 'customerId'], // misspelt: it would let everything through
    ...['', 'x', 'A'.repeat(21), 'A'.repeat(23), `${'A'.repeat(21)}B`, `${'A'.repeat(21)}+`].map(
      (resumeToken) => [{ resumeToken }, 'resumeToken'] as const,
    ),
  ])('refuses %j at once, before it is read', (input, path) => {
    const open = (): unknown => new Monitored().open(input as never);
    expect(open).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', issues: [expect.objectContaining({ path })] }));
  });
});

describe('a slow reader', () => {
  it('gets 1024 events and then STREAM_OVERFLOW with the token to go on with: nothing is lost and nothing twice', async () => {
    const monitored = new Monitored();
    const stream = monitored.open();
    const first = next(stream);
    for (let count = 0; count < 1_100; count += 1) monitored.happen();
    const got = [told(await first), ...(await take(stream, 1_023))];
    const error = await next(stream).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'STREAM_OVERFLOW', retry: 'backoff', details: { resumeToken: expect.any(String) } });
    const { resumeToken } = (error as { details: { resumeToken: string } }).details;
    expect([...got, ...(await take(monitored.open({ resumeToken }), 76))]).toEqual(numbers(0, 1_100));
  });

  it('is one that does not read what is for it: what others get does not count', async () => {
    const monitored = new Monitored(100);
    const stream = monitored.open({ customerIds: ['acme'] });
    const first = next(stream);
    monitored.happen('acme');
    expect(told(await first)).toBe('0');
    for (let count = 0; count < 5_000; count += 1) monitored.happen('globex');
    monitored.happen('acme');
    expect(await take(stream, 1)).toEqual(['5001']);
  });

  it('is one that what is kept has gone past, too; where it was is then too old', async () => {
    const monitored = new Monitored(10);
    const stream = monitored.open();
    const first = next(stream);
    monitored.happen();
    await first;
    for (let count = 0; count < 11; count += 1) monitored.happen();
    const error = await next(stream).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'STREAM_OVERFLOW' });
    const { resumeToken } = (error as { details: { resumeToken: string } }).details;
    expect(() => monitored.open({ resumeToken })).toThrow(expect.objectContaining({ code: 'RESUME_TOKEN_EXPIRED' }));
  });

  it('that resumes may have more than 1024 to catch up with; what happens meanwhile comes after it', async () => {
    const monitored = new Monitored();
    const token = await tokenOf(monitored.open({ heartbeatMs: 1_000 }));
    for (let count = 0; count < 3_000; count += 1) monitored.happen();
    const stream = monitored.open({ resumeToken: token });
    const got = [...(await take(stream, 1_500))];
    for (let count = 0; count < 1_030; count += 1) monitored.happen();
    got.push(...(await take(stream, 2_524)));
    expect(got).toEqual(numbers(0, 4_024));
    await expect(next(stream)).rejects.toMatchObject({ code: 'STREAM_OVERFLOW' });
  });

  it('is none that keeps up, however much happens', async () => {
    const monitored = new Monitored();
    const stream = monitored.open();
    const got: string[] = [];
    for (let count = 0; count < 1_500; count += 1) {
      monitored.happen();
      monitored.happen();
      got.push(...(await take(stream, 2)));
    }
    expect(got).toEqual(numbers(0, 3_000));
  });
});

describe('a resume token', () => {
  it('is of its own manager, and of what is kept', async () => {
    const [one, other] = [new Monitored(3), new Monitored(3)];
    const stream = one.open();
    for (let count = 0; count < 2; count += 1) one.happen();
    const token = await tokenOf(stream);
    const expired = expect.objectContaining({
      code: 'RESUME_TOKEN_EXPIRED',
      retry: 'never',
      issues: [expect.objectContaining({ path: 'resumeToken' })],
    });
    expect(() => other.open({ resumeToken: token })).toThrow(expired);
    for (let count = 0; count < 2; count += 1) one.happen();
    expect(await take(one.open({ resumeToken: token }), 3)).toEqual(['1', '2', '3']);
    one.happen();
    expect(() => one.open({ resumeToken: token })).toThrow(expired);
    expect(() => one.open({ resumeToken: 'A'.repeat(22) })).toThrow(expired);
  });

  it('says nothing: two of one place differ, and no two have a part in common', async () => {
    const monitored = new Monitored();
    const tokens = new Set<string>();
    for (let count = 0; count < 500; count += 1) {
      tokens.add(monitored.history.tokenAt(7));
      tokens.add(monitored.history.tokenAt(count));
    }
    expect(tokens.size).toBe(1_000);
    expect(new Set([...tokens].map((token) => token.slice(0, 8))).size).toBeGreaterThan(990);
  });

  it('of another customer opens nothing of theirs', async () => {
    const monitored = new Monitored();
    const theirs = monitored.open({ customerIds: ['globex'] });
    monitored.happen('globex');
    const resumeToken = await tokenOf(theirs);
    monitored.happen('globex');
    monitored.happen('acme');
    const stream = monitored.open({ customerIds: ['acme'], resumeToken, heartbeatMs: 1_000 });
    expect(await take(stream, 1)).toEqual(['2']);
    const more = take(stream, 1);
    await monitored.clock.advance(1_000);
    expect(await more).toEqual(['-']);
  });
});

describe('a heartbeat', () => {
  it('comes at once, then after each pause without an event, with a token that has moved on', async () => {
    const monitored = new Monitored(5);
    const stream = monitored.open({ customerIds: ['acme'], heartbeatMs: 1_000 });
    expect(await next(stream)).toEqual({ heartbeat: true, timestamp: new Date(monitored.clock.nowMs()), resumeToken: expect.any(String) });
    let coming = next(stream);
    for (let second = 0; second < 20; second += 1) {
      for (let count = 0; count < 3; count += 1) monitored.happen('globex'); // 60 in all, of which 5 are kept
      await monitored.clock.advance(1_000);
      const item = await coming;
      expect(told(item)).toBe('-');
      expect(() => monitored.open({ resumeToken: item.resumeToken ?? '' })).not.toThrow();
      coming = next(stream);
    }
    await monitored.clock.advance(999);
    monitored.happen('acme');
    expect(told(await coming)).toBe('60');
    const last = next(stream);
    let isTold = false;
    void last.then(() => (isTold = true));
    await monitored.clock.advance(999);
    expect(isTold).toBe(false);
    await monitored.clock.advance(1);
    expect(told(await last)).toBe('-');
    expect(monitored.clock.sleepers).toBe(1);
  });

  it('of a reader that is busy waits for it, once', async () => {
    const monitored = new Monitored();
    const stream = monitored.open({ heartbeatMs: 1_000 });
    await take(stream, 1);
    await monitored.clock.advance(10_000);
    monitored.happen();
    const after = take(stream, 2);
    await monitored.clock.advance(1_000);
    expect(await after).toEqual(['0', '-']);
  });

  it('is not silenced by a clock that is put back', async () => {
    const monitored = new Monitored();
    const { clock } = monitored;
    let backMs = 0;
    const nowMs = clock.nowMs.bind(clock);
    clock.nowMs = () => nowMs() - backMs;
    const stream = monitored.open({ heartbeatMs: 1_000 });
    await take(stream, 1);
    backMs = 3_600_000;
    const coming = take(stream, 1);
    let isTold = false;
    void coming.then(() => (isTold = true));
    for (let second = 0; second < 3; second += 1) await clock.advance(1_000);
    expect(isTold).toBe(false); // nothing of it is due by that clock: a whole pause at most
    monitored.happen();
    expect(await coming).toEqual(['0']);
    const beat = take(stream, 1);
    for (let second = 0; second < 2; second += 1) await clock.advance(1_000);
    expect(await beat).toEqual(['-']);
  });
});
