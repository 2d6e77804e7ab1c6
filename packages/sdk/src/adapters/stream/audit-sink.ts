import type { Writable } from 'node:stream';
import { BifrostError } from '@bifrost/types/core';
import type { AuditRecord, AuditSink } from '../../ports/audit-sink.ts';
import type { CallOptions } from '../../ports/store.ts';

/** Options of {@link streamAuditSink}. */
export interface StreamAuditSinkOptions {
  /** Records that may wait for the stream at once; one more is refused. @default 1024 */
  readonly maxPending?: number;
}

/**
 * An audit sink that writes one JSON object per line, in the order of the calls. `append` resolves when the stream says that the line is written
 * and rejects with `STORE_UNAVAILABLE` when the write fails or too many records wait. On abort it rejects with `signal.reason` itself; a line that
 * the stream already holds may still be written. The stream stays the caller's.
 *
 * @example
 * const audit = streamAuditSink(createWriteStream('audit.ndjson', { flags: 'a' }));
 */
export function streamAuditSink(writable: Writable, options: StreamAuditSinkOptions = {}): AuditSink {
  const { maxPending = 1024 } = options;
  let pending = 0;
  writable.on('error', () => {}); // each failed write is told to its own caller
  return {
    append(record: AuditRecord, { signal }: CallOptions): Promise<void> {
      return new Promise((resolve, reject) => {
        signal.throwIfAborted();
        if (pending >= maxPending) throw unavailable(`${pending} audit records wait for the stream: nothing may be changed until it takes them.`);
        const line = `${JSON.stringify(record)}\n`;
        const onAbort = (): void => reject(signal.reason);
        signal.addEventListener('abort', onAbort, { once: true });
        pending += 1;
        writable.write(line, (error) => {
          pending -= 1;
          signal.removeEventListener('abort', onAbort);
          if (error) reject(unavailable('The audit record could not be written: nothing may be changed until the stream works.', error));
          else resolve();
        });
      });
    },
  };
}

function unavailable(message: string, cause?: unknown): BifrostError {
  return new BifrostError({ code: 'STORE_UNAVAILABLE', message, cause });
}
