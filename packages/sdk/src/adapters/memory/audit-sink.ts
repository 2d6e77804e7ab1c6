import type { ErrorCode } from '@bifrost/types/core';
import type { AuditRecord, AuditSink } from '../../ports/audit-sink.ts';
import type { CallOptions } from '../../ports/store.ts';
import { Faults } from './faults.ts';

/** An audit sink that keeps its records, for tests and for embedded managers that show them. It grows with each record. */
export class MemoryAuditSink implements AuditSink {
  readonly #records: AuditRecord[] = [];
  readonly #faults = new Faults();

  /** A copy, oldest first. */
  get records(): readonly AuditRecord[] {
    return structuredClone(this.#records);
  }

  /** The next `append` fails with `code` and keeps nothing. */
  failNext(code: ErrorCode): void {
    this.#faults.failNext(code);
  }

  async append(record: AuditRecord, options: CallOptions): Promise<void> {
    this.#faults.enter(options);
    this.#records.push(structuredClone(record));
  }
}
