import { describe, expect, it } from 'vitest';
import { GUARD_LIMITS, type GuardOrder, guardOrderText, REPORT_LIMITS, readGuardOrder, toWire } from '../src/core/index.ts';

const ORDER: GuardOrder = { hash: '0123456789abcdef', allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'standard' };
const longest = (net: string): readonly string[] =>
  Array.from({ length: GUARD_LIMITS.maxNetworks }, (_, index) => `${net}:1111:1111:1111:1111:1111:1111:${(0x1000 + index).toString(16)}/128`);

describe('an order for a guard', () => {
  it('is the same text whatever the order of its networks, each once', () => {
    const text = guardOrderText({ ...ORDER, allowedNetworks: ['10.2.0.0/16', '10.1.0.0/16', '10.2.0.0/16'], blockedNetworks: ['10.1.2.0/24'] });
    expect(text).toBe('bifrost-guard 1 0123456789abcdef 4\npolicy standard\nallow 10.1.0.0/16\nallow 10.2.0.0/16\nblock 10.1.2.0/24\n');
  });

  it('with every list full of the longest ranges fits into the answer and into the file', () => {
    const full: GuardOrder = { ...ORDER, allowedNetworks: longest('fd01'), blockedNetworks: longest('fd02'), accessPolicy: 'quarantine' };
    expect(readGuardOrder(full)).toEqual(full);
    expect(JSON.stringify(toWire({ v: 1, nextHeartbeatMs: 300_000, guard: full })).length).toBeLessThanOrEqual(REPORT_LIMITS.maxAnswerBytes);
    expect(guardOrderText(full).length).toBeLessThanOrEqual(GUARD_LIMITS.maxOrderBytes);
  });

  it('is read without what a newer manager adds', () => {
    expect(readGuardOrder({ ...ORDER, expiresAtMs: 1 })).toEqual(ORDER);
  });
});
