import { describe, expect, it } from 'vitest';
import { podRecheckMs, podsRemain } from '../src/domain/pod-wait.ts';

describe('podsRemain, podRecheckMs', () => {
  it('names at most three pods, in order, and counts the others', () => {
    const messageOf = (...names: string[]) => podsRemain(names).message;
    expect(messageOf('b', 'a')).toBe('Waits until pods that have the sidecar are gone: a, b.');
    expect(messageOf('c', 'b', 'a')).toBe('Waits until pods that have the sidecar are gone: a, b, c.');
    expect(messageOf('d', 'c', 'b', 'a')).toBe('Waits until pods that have the sidecar are gone: a, b, c and 1 more.');
    expect(messageOf(...Array.from({ length: 5_000 }, (_, index) => `p${index}`)).length).toBeLessThan(100);
  });

  it('looks at once at first, then less and less often, and never stops', () => {
    expect([0, 500, 4_000, 60_000, 3_600_000].map(podRecheckMs)).toEqual([1_000, 1_000, 4_000, 60_000, 300_000]);
  });
});
