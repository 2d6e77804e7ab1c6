import { Secret } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import type { LogFields, Logger, LogLevel } from '../../ports/logger.ts';

/** A line as it was written. */
export interface WrittenLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

/** What `open` gives: a logger that writes all levels. */
export interface LoggerUnderTest {
  readonly logger: Logger;
  /** What was written so far, read back from where it was written to. */
  lines(): readonly WrittenLine[];
  /** Makes the destination fail from now on. Leave it out where it cannot. */
  breakDestination?(): void;
}

/** The suite of the Logger port. */
export function describeLogger(adapter: string, open: () => LoggerUnderTest): void {
  describe(`Logger port: ${adapter}`, () => {
    it('L1: lines come in order, each with level, message and fields', () => {
      const { logger, lines } = open();
      const written: readonly WrittenLine[] = [
        { level: 'debug', message: 'first', fields: {} },
        { level: 'info', message: 'second', fields: { tailnet: 'acme', count: 3, ready: true } },
        { level: 'warn', message: 'third', fields: {} },
        { level: 'error', message: 'fourth', fields: { code: 'STORE_CONFLICT' } },
      ];
      for (const { level, message, fields } of written) logger.log(level, message, fields);
      expect(lines()).toEqual(written);
    });

    it('L2: a call without fields is a line', () => {
      const { logger, lines } = open();
      logger.log('info', 'alone');
      expect(lines()).toEqual([{ level: 'info', message: 'alone', fields: {} }]);
    });

    it('L3: one call is one line, whatever its text', () => {
      const { logger, lines } = open();
      const message = 'line\nbreak \r\n „Grüße“ 世界 "quotes" \u0000 \u2028';
      logger.log('warn', message, { text: message });
      expect(lines()).toEqual([{ level: 'warn', message, fields: { text: message } }]);
    });

    it('L4: undefined fields are as if absent, and a field cannot pose as the level or the message', () => {
      const { logger, lines } = open();
      logger.log('error', 'true message', { absent: undefined, level: 'debug', message: 'false message', time: 'never' });
      expect(lines()).toMatchObject([{ level: 'error', message: 'true message' }]);
      expect(lines()[0]?.fields).not.toHaveProperty('absent', expect.anything());
    });

    it('L5: changing the fields later changes no line', () => {
      const { logger, lines } = open();
      const fields = { tailnet: 'acme' };
      logger.log('info', 'message', fields);
      fields.tailnet = 'other';
      expect(lines()[0]?.fields).toEqual({ tailnet: 'acme' });
    });

    it('L6: a Secret that slips in is not written', () => {
      const { logger, lines } = open();
      logger.log('info', 'message', { key: new Secret('canary-value') } as unknown as LogFields);
      expect(JSON.stringify(lines())).not.toContain('canary-value');
    });

    it('L7: it never throws, not even with fields that cannot be written or a broken destination', () => {
      const { logger, breakDestination } = open();
      const circular: Record<string, unknown> = {};
      circular['self'] = circular;
      logger.log('info', 'odd', circular as LogFields);
      breakDestination?.();
      for (let count = 0; count < 100; count += 1) expect(logger.log('error', 'lost', { count })).toBeUndefined();
    });
  });
}
