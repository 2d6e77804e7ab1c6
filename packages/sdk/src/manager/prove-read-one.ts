import { BifrostError, type ProofInput } from '@bifrost/types/core';
import { type EvidenceKind, type EvidenceKinds, proofInput, unreadInput } from '../domain/policy/proof-evidence.ts';
import type { Call } from './context.ts';

/** What could not be read is noted with its code: one customer's control plane that is away does not end the rest. */
export async function read<Kind extends EvidenceKind>(
  { kind, key, signal }: { readonly kind: Kind; readonly key: string } & Call,
  ask: () => Promise<EvidenceKinds[Kind]>,
): Promise<ProofInput> {
  try {
    return proofInput(kind, key, await ask());
  } catch (error) {
    if (signal.aborted || !BifrostError.is(error)) throw error;
    return unreadInput(kind, key, error.code);
  }
}
