import { BifrostError, type ErrorCode } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { KnownRelays } from '../src/manager/known-relays.ts';

const call = { signal: new AbortController().signal };

/** A control plane that fails with a code as long as there is one. */
class Publisher {
  asked = 0;
  nowMs = 0;
  code: ErrorCode | undefined;
  retryAfterMs: number | undefined;
  readonly known = new KnownRelays(this, { nowMs: () => this.nowMs });

  constructor(code?: ErrorCode) {
    this.code = code;
  }

  async relays(): Promise<readonly never[]> {
    this.asked += 1;
    const { code, retryAfterMs } = this;
    if (code !== undefined) throw new BifrostError({ code, message: 'no map', ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
    return [];
  }

  async read(times = 1): Promise<readonly unknown[]> {
    const answers: unknown[] = [];
    for (let time = 0; time < times; time += 1) answers.push(await this.known.read(call).catch((error: BifrostError) => error.code));
    return answers;
  }
}

describe('what is known of relays', () => {
  it.each<ErrorCode>(['CONTROL_NOT_FOUND', 'CONTROL_ANSWER_INVALID'])(
    'bug: after %s there are none, and nobody asks for half a minute',
    async (code) => {
      const control = new Publisher(code);
      expect(await control.read(100)).toEqual(Array(100).fill([]));
      expect(control.asked).toBe(1);
      control.nowMs = 29_999;
      await control.read();
      expect(control.asked).toBe(1);
      control.nowMs = 30_000;
      await control.read();
      expect(control.asked).toBe(2);
    },
  );

  it('bug: after a fault what was told last is told for half a minute, whoever asks', async () => {
    const control = new Publisher();
    await control.read();
    control.code = 'CONTROL_UNAVAILABLE';
    expect(await control.read(100)).toEqual(Array(100).fill([]));
    expect(control.asked).toBe(2);
    control.nowMs = 30_000;
    await control.read();
    expect(control.asked).toBe(3);
  });

  it.each<ErrorCode>(['CONTROL_UNAVAILABLE', 'CONTROL_RATE_LIMITED'])(
    'bug: one %s at the start of a manager refused every first attach for half a minute: it is asked again after a second, and not before',
    async (code) => {
      const control = new Publisher(code);
      expect(await control.read(100)).toEqual(Array(100).fill(code));
      expect(control.asked).toBe(1);
      control.code = undefined;
      control.nowMs = 999;
      expect(await control.read()).toEqual([code]);
      control.nowMs = 1_000;
      expect(await control.read()).toEqual([[]]);
      expect(control.asked).toBe(2);
    },
  );

  it.each([
    ['as long as was asked for', 5_000, 5_000],
    ['half a minute at most', 3_600_000, 30_000],
  ])('while nothing is known, one that says when to come again is left alone %s', async (_, retryAfterMs, untilMs) => {
    const control = new Publisher('CONTROL_RATE_LIMITED');
    control.retryAfterMs = retryAfterMs;
    await control.read();
    control.nowMs = untilMs - 1;
    await control.read();
    expect(control.asked).toBe(1);
    control.nowMs = untilMs;
    await control.read();
    expect(control.asked).toBe(2);
  });
});
