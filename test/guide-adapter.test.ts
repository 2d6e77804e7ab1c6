import { type AuditRecord, type AuditSink, BifrostError } from '@bifrost/sdk';
import { describeAuditSink } from '@bifrost/sdk/testing/conformance';

/** An adapter of your own: here a table of rows, in place of your database. */
class TableAuditSink implements AuditSink {
  readonly rows: string[] = [];
  broken = false;

  async append(record: AuditRecord, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    if (this.broken) {
      this.broken = false;
      throw new BifrostError({ code: 'STORE_UNAVAILABLE', message: 'The table cannot be written.' });
    }
    this.rows.push(JSON.stringify(record));
  }
}

// What `open` gives is used by one case: the adapter, a way to read back by other means, and one to break it.
describeAuditSink('table', async () => {
  const sink = new TableAuditSink();
  return {
    sink,
    records: async () => sink.rows.map((row) => JSON.parse(row) as AuditRecord),
    breakNext: () => {
      sink.broken = true;
    },
  };
});
