import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Bell, pause } from '../src/bell.ts';
import { together } from '../src/together.ts';

const reason = new Error('left');

describe('Bell', () => {
  it('a ring while nobody waits is kept once; without one the time ends the wait', async () => {
    const bell = new Bell();
    const { signal } = new AbortController();
    bell.ring();
    bell.ring();
    expect(await bell.wait(Number.POSITIVE_INFINITY, { signal })).toBe(true);
    expect(await bell.wait(1, { signal })).toBe(false);
    const waiting = bell.wait(Number.POSITIVE_INFINITY, { signal });
    bell.ring();
    expect(await waiting).toBe(true);
    bell.ring();
    bell.hush();
    expect(await bell.wait(1, { signal })).toBe(false);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
  it('rejects with the reason itself, before and half-way, and leaves no listener', async () => {
    await expect(pause(1, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const caller = new AbortController();
    const waiting = new Bell().wait(Number.POSITIVE_INFINITY, caller);
    caller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    expect(getEventListeners(caller.signal, 'abort')).toEqual([]);
  });
});

describe('together', () => {
  const forever = (signal: AbortSignal) => pause(Number.POSITIVE_INFINITY, { signal });
  it('ends with the caller’s signal, without an error', async () => {
    const caller = new AbortController();
    const running = together([forever, forever], caller.signal);
    caller.abort(reason);
    await expect(running).resolves.toBeUndefined();
  });
  it('a loop that fails ends the others, and its error is thrown', async () => {
    const { signal } = new AbortController();
    const bug = new Error('bug');
    await expect(together([forever, () => Promise.reject(bug)], signal)).rejects.toBe(bug);
  });
});
