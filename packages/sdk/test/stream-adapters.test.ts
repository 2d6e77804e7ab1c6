import { getEventListeners } from 'node:events';
import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { streamAuditSink } from '../src/adapters/stream/audit-sink.ts';
import { streamLogger } from '../src/adapters/stream/logger.ts';
import type { AuditRecord } from '../src/ports/audit-sink.ts';
import { type AuditSinkUnderTest, describeAuditSink } from '../src/testing/conformance/audit-sink.ts';
import { describeLogger, type WrittenLine } from '../src/testing/conformance/logger.ts';

/** A destination with state and a fault queue: keeps what it takes, holds it back or refuses it when told to. */
class Destination extends Writable {
  text = '';
  #faults = 0;
  #held: (() => void)[] | undefined;

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    const take = (): void => {
      if (this.#faults > 0) {
        this.#faults -= 1;
        done(Object.assign(new Error('disk full'), { code: 'ENOSPC' }));
        return;
      }
      this.text += chunk.toString();
      done();
    };
    if (this.#held) this.#held.push(take);
    else take();
  }

  failNext(): void {
    this.#faults += 1;
  }
  hold(): void {
    this.#held = [];
  }
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const take of held) take();
  }
  get documents(): readonly Record<string, unknown>[] {
    return this.text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

const call = () => ({ signal: AbortSignal.timeout(5_000) });
const record: AuditRecord = { atMs: 1, actor: 'me', action: 'attachSidecar', subject: 's', outcome: 'accepted' };

describeLogger('stream', () => {
  const destination = new Destination();
  return {
    logger: streamLogger(destination, { level: 'debug' }),
    lines: () => destination.documents.map(({ level, message, time, ...fields }) => ({ level, message, fields }) as WrittenLine),
    breakDestination: () => void destination.destroy(),
  };
});

describeAuditSink('stream', async (): Promise<AuditSinkUnderTest> => {
  const destination = new Destination();
  return {
    sink: streamAuditSink(destination),
    records: async () => destination.documents as unknown as readonly AuditRecord[],
    breakNext: () => destination.failNext(),
  };
});

describe('streamLogger', () => {
  it('writes info and above unless told otherwise, with the time', () => {
    const destination = new Destination();
    const logger = streamLogger(destination, { nowMs: () => 0 });
    logger.log('debug', 'no');
    logger.log('info', 'yes', { count: 1 });
    expect(destination.documents).toEqual([{ time: '1970-01-01T00:00:00.000Z', level: 'info', message: 'yes', count: 1 }]);
  });

  it('drops lines for a slow stream and tells how many, later', () => {
    const destination = new Destination();
    destination.hold();
    const logger = streamLogger(destination, { maxBufferedBytes: 200 });
    for (let count = 0; count < 50; count += 1) logger.log('info', 'line', { count });
    expect(destination.writableLength).toBeLessThan(400);
    destination.release();
    logger.log('info', 'after');
    const told = destination.documents.find(({ dropped }) => dropped !== undefined);
    const written = destination.documents.filter(({ message }) => message === 'line');
    expect(told?.['dropped']).toBe(50 - written.length);
    expect(destination.documents.at(-1)).toMatchObject({ message: 'after' });
  });
});

describe('streamAuditSink', () => {
  it('resolves only when the stream has taken the record', async () => {
    const destination = new Destination();
    destination.hold();
    let kept = false;
    const appended = streamAuditSink(destination)
      .append(record, call())
      .then(() => {
        kept = true;
      });
    await Promise.resolve();
    expect(kept).toBe(false);
    destination.release();
    await appended;
    expect(destination.documents).toEqual([record]);
  });

  it('refuses one more than may wait, and works again later', async () => {
    const destination = new Destination();
    destination.hold();
    const sink = streamAuditSink(destination, { maxPending: 2 });
    const waiting = [sink.append(record, call()), sink.append(record, call())];
    await expect(sink.append(record, call())).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    destination.release();
    await Promise.all(waiting);
    await sink.append(record, call());
    expect(destination.documents).toHaveLength(3);
  });

  it('an append that waits for a stuck stream rejects with the reason itself on abort', async () => {
    const destination = new Destination();
    destination.hold();
    const controller = new AbortController();
    const reason = new Error('caller left');
    const appended = streamAuditSink(destination).append(record, controller);
    controller.abort(reason);
    await expect(appended).rejects.toBe(reason);
    destination.release();
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  it('keeps the cause of a failed write', async () => {
    const destination = new Destination();
    destination.failNext();
    await expect(streamAuditSink(destination).append(record, call())).rejects.toMatchObject({ cause: { code: 'ENOSPC' } });
  });
});
