import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { MemoryLogger } from '../src/adapters/memory/logger.ts';
import { requireIsolated } from '../src/manager/isolation.ts';

const customers = ['acme', 'globex'].map((customerId, index) => ({
  customerId,
  tags: [`tag:${customerId}`],
  addresses: [`100.64.0.${index + 1}`],
  networks: ['10.0.0.0/8'],
}));
const policy = (dst: string): string => JSON.stringify({ grants: [{ src: ['tag:acme'], dst: [dst], ip: ['*'] }] });

describe('a policy of several customers', () => {
  it('passes when it keeps them apart', () => {
    expect(() => requireIsolated(policy('tag:acme'), customers, new MemoryLogger())).not.toThrow();
  });

  it('is refused by the entry that opens it, in words that name no customer; the log names them', () => {
    const logger = new MemoryLogger();
    let refused: unknown;
    try {
      requireIsolated(policy('tag:globex'), customers, logger);
    } catch (error) {
      refused = error;
    }
    expect(refused).toMatchObject({ code: 'ISOLATION_VIOLATED', details: { by: 'grants.0' }, issues: [{ path: 'policy.grants.0' }] });
    if (!BifrostError.is(refused)) throw refused;
    expect(JSON.stringify(refused)).not.toMatch(/acme|globex/);
    expect(logger.lines).toEqual([expect.objectContaining({ fields: expect.objectContaining({ from: 'acme', to: 'globex', by: 'grants.0' }) })]);
  });
});
