import { describe, expect, it } from 'vitest';
import { MemoryAuditSink } from '../src/adapters/memory/audit-sink.ts';
import { MemoryLogger, silentLogger } from '../src/adapters/memory/logger.ts';
import { describeAuditSink } from '../src/testing/conformance/audit-sink.ts';
import { describeLogger } from '../src/testing/conformance/logger.ts';

describeLogger('memory', () => {
  const logger = new MemoryLogger();
  return { logger, lines: () => logger.lines };
});

describeAuditSink('memory', async () => {
  const sink = new MemoryAuditSink();
  return { sink, records: async () => sink.records, breakNext: () => sink.failNext('STORE_UNAVAILABLE') };
});

describe('silentLogger', () => {
  it('takes lines and says nothing', () => {
    expect(silentLogger().log('error', 'unheard')).toBeUndefined();
  });
});

describe('MemoryLogger', () => {
  it('keeps the newest lines only', () => {
    const logger = new MemoryLogger({ capacity: 2 });
    for (const message of ['a', 'b', 'c']) logger.log('info', message);
    expect(logger.lines.map(({ message }) => message)).toEqual(['b', 'c']);
  });
});
