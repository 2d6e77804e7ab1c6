import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { AuditRecord, AuditSink } from '../../ports/audit-sink.ts';
import type { CallOptions } from '../../ports/store.ts';

/** What `open` gives. */
export interface AuditSinkUnderTest {
  readonly sink: AuditSink;
  /** What is kept so far, read back from where it is kept. */
  records(): Promise<readonly AuditRecord[]>;
  /** Makes the next append fail. */
  breakNext(): void;
}

const call = (): CallOptions => ({ signal: AbortSignal.timeout(5_000) });
const record = (subject: string): AuditRecord => ({
  atMs: 1_767_225_600_000,
  actor: 'book-controller',
  action: 'createTailnet',
  customerId: 'acme-corp',
  subject,
  outcome: 'accepted',
});

/** The suite of the AuditSink port. */
export function describeAuditSink(adapter: string, open: () => Promise<AuditSinkUnderTest>): void {
  describe(`AuditSink port: ${adapter}`, () => {
    it('A1: a record is kept, whole, once append has resolved', async () => {
      const { sink, records } = await open();
      const { customerId: _, ...anonymous } = record('anonymous');
      await sink.append(record('first'), call());
      expect(await records()).toEqual([record('first')]);
      await sink.append(anonymous, call());
      expect(await records()).toEqual([record('first'), anonymous]);
    });

    it('A2: records keep the order of the calls, waiting ones too', async () => {
      const { sink, records } = await open();
      const subjects = Array.from({ length: 50 }, (_, index) => `tailnet-${index}`);
      await Promise.all(subjects.map((subject) => sink.append(record(subject), call())));
      expect((await records()).map(({ subject }) => subject)).toEqual(subjects);
    });

    it('A3: one call is one record, whatever its text', async () => {
      const { sink, records } = await open();
      const odd = record('line\nbreak „Grüße“ 世界 "quotes" \u2028');
      await sink.append(odd, call());
      expect(await records()).toEqual([odd]);
    });

    it('A4: changing the record later changes nothing kept', async () => {
      const { sink, records } = await open();
      const mine = { ...record('before') };
      await sink.append(mine, call());
      mine.subject = 'after';
      expect((await records()).map(({ subject }) => subject)).toEqual(['before']);
    });

    it('A5: an aborted append rejects with the reason itself and keeps nothing', async () => {
      const { sink, records } = await open();
      const reason = new Error('caller left');
      await expect(sink.append(record('never'), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      expect(await records()).toEqual([]);
    });

    it('A6: an append that ended leaves no listener', async () => {
      const { sink } = await open();
      const controller = new AbortController();
      await sink.append(record('first'), controller);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    });

    it('A7: what cannot be kept rejects with a code, so that nothing happens unrecorded', async () => {
      const { sink, records, breakNext } = await open();
      await sink.append(record('first'), call());
      breakNext();
      await expect(sink.append(record('lost'), call())).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', retry: 'backoff' });
      expect((await records()).map(({ subject }) => subject)).toEqual(['first']);
    });
  });
}
