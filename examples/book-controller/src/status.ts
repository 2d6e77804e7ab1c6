import type { BifrostError, Condition, Sidecar, StatusReason } from '@bifrost/sdk';
import type { Book, BookStatus } from './book.ts';

/** What one look at Bifrost gave for a Book. */
export interface Look {
  readonly customerId?: string | undefined;
  /** As Bifrost has it; undefined: not at all. */
  readonly sidecar?: Sidecar | undefined;
  /** Why it stands still: a refusal, or what its tailnet waits for. */
  readonly reason?: StatusReason | undefined;
}

type ConditionNow = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

export const reasonOf = ({ code, message }: BifrostError): StatusReason => ({ code, message });

/** How a Book stands, as its status says it. The same look again gives the same status. */
export function statusOf(book: Book, { customerId, sidecar, reason: given }: Look, now: Date): BookStatus {
  const connection = sidecar?.status ?? 'none';
  const usable = connection === 'connected' || connection === 'degraded';
  const { code: reason, message } = troubleOf(sidecar) ?? sidecar?.reason ?? given ?? {};
  const because = { reason: reason ?? connection, message: message ?? '' };
  const conditions: readonly ConditionNow[] = [
    sidecar === undefined ? { type: 'Attached', status: 'False', ...because } : { type: 'Attached', status: 'True', reason: 'Attached', message: '' },
    usable ? { type: 'Connected', status: 'True', reason: 'Connected', message: '' } : { type: 'Connected', status: 'False', ...because },
  ];
  const ipAddress = sidecar?.ipAddress;
  return {
    observedGeneration: book.metadata.generation,
    connection,
    ...(customerId === undefined ? {} : { customerId }),
    ...(ipAddress === undefined ? {} : { ipAddress }),
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
    conditions: conditions.map((condition) => since(book, condition, now)),
  };
}

/** The first pod that is not well, and what it suffers from. */
function troubleOf(sidecar: Sidecar | undefined): { readonly code: string; readonly message: string } | undefined {
  const pod = sidecar?.instances.find(({ cause }) => cause !== undefined);
  return pod?.cause === undefined ? undefined : { code: pod.cause, message: `${pod.podName} is ${pod.status}` };
}

/** With the time since which it has its status. */
function since({ metadata, status }: Book, condition: ConditionNow, now: Date): Condition {
  const before = status?.conditions.find(({ type }) => type === condition.type);
  const lastTransitionTime = before?.status === condition.status ? before.lastTransitionTime : now.toISOString().replace(/\.\d+Z$/, 'Z');
  return { ...condition, observedGeneration: metadata.generation, lastTransitionTime };
}
