import { BifrostError, type ErrorCode } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { KnownRelays } from '../src/manager/known-relays.ts';

describe('what is known of relays', () => {
  it.each<[ErrorCode, 'none' | 'refused']>([
    ['CONTROL_NOT_FOUND', 'none'],
    ['CONTROL_ANSWER_INVALID', 'none'],
    ['CONTROL_UNAVAILABLE', 'refused'],
  ])('bug: after %s the control plane is left alone for half a minute, whoever asks', async (code, answer) => {
    let asked = 0;
    const relays = async () => {
      asked += 1;
      throw new BifrostError({ code, message: 'no map' });
    };
    let nowMs = 0;
    const known = new KnownRelays({ relays }, { nowMs: () => nowMs });
    const call = { signal: new AbortController().signal };
    for (let round = 0; round < 100; round += 1) {
      if (answer === 'none') expect(await known.read(call)).toEqual([]);
      else await expect(known.read(call)).rejects.toMatchObject({ code });
    }
    expect(asked).toBe(1);
    nowMs = 30_000;
    await known.read(call).catch(() => {});
    expect(asked).toBe(2);
  });
});
