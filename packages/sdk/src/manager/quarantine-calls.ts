import { parseOrThrow, type QuarantineSidecarInput, quarantineSidecarRequestSchema } from '@bifrost/types';
import { BifrostError, type Sidecar } from '@bifrost/types/core';
import type { QuarantineWish, SidecarSpec, StoredSidecar } from '../domain/model.ts';
import { trialAnew } from '../domain/quarantine.ts';
import { isSecretLike } from '../domain/secret-like.ts';
import { audited } from './audited.ts';
import { type Context, respecSidecar } from './context.ts';
import { type Change, requireMatch, writeMatched } from './etags.ts';
import { requireSidecar } from './sidecar-calls.ts';
import { sidecarView } from './sidecar-view.ts';

/** @see NetworkManager.quarantineSidecar */
export async function quarantineSidecar(context: Context, input: QuarantineSidecarInput, call: Change): Promise<Sidecar> {
  const wanted = async (): Promise<QuarantineWish> => {
    const { reason } = parseOrThrow(quarantineSidecarRequestSchema, input, 'INVALID_ARGUMENT');
    if (reason !== undefined && isSecretLike(reason)) throw secretGiven();
    return { sinceMs: context.clock.nowMs(), ...(reason === undefined || reason === '' ? {} : { reason }) };
  };
  return change(context, { action: 'quarantineSidecar', sidecarId: input?.sidecarId, wanted }, call);
}

/** @see NetworkManager.readmitSidecar */
export async function readmitSidecar(context: Context, sidecarId: string, call: Change): Promise<Sidecar> {
  return change(context, { action: 'readmitSidecar', sidecarId, wanted: async () => undefined }, call);
}

/** What is stored reaches logs and terminals. */
const secretGiven = (): BifrostError =>
  new BifrostError({
    code: 'INVALID_ARGUMENT',
    message: 'The reason looks like a key or a token: it would be stored and shown.',
    issues: [{ path: 'reason', message: 'must not hold a secret' }],
  });

interface Wanted {
  readonly action: 'quarantineSidecar' | 'readmitSidecar';
  readonly sidecarId: string;
  readonly wanted: () => Promise<QuarantineWish | undefined>;
}

async function change(context: Context, { action, sidecarId, wanted }: Wanted, call: Change): Promise<Sidecar> {
  return audited(
    context,
    { call, action, subject: sidecarId },
    {
      check: async () => {
        const quarantine = await wanted();
        const sidecar = await requireSidecar(context, sidecarId, call);
        requireMatch(sidecar, call);
        return { sidecar, quarantine };
      },
      write: async ({ sidecar, quarantine }) => {
        if (isWished(sidecar, quarantine)) return sidecarView(context, sidecar);
        const written = await writeWish(context, { sidecar, quarantine }, call);
        context.interrupt('sidecar', written.key); // a round that may be about to make a key
        context.urge('sidecar', written.key);
        context.touch('workload', written.key); // what its annotations asked for meanwhile
        return sidecarView(context, written);
      },
    },
  );
}

interface Wish {
  readonly sidecar: StoredSidecar;
  readonly quarantine: QuarantineWish | undefined;
}

/** The first quarantine counts: since when, and why. */
const isWished = ({ spec }: StoredSidecar, quarantine: QuarantineWish | undefined): boolean =>
  (spec.quarantine === undefined) === (quarantine === undefined);

/** The loop changes what is wanted as well, as when a trial ends: who is in a hurry is not to be told to call again for that. */
async function writeWish(context: Context, { sidecar, quarantine }: Wish, call: Change): Promise<StoredSidecar> {
  return writeMatched(context.store.sidecars, sidecar, {
    ...call,
    goesOn: (_, now) => now.spec.sidecarId === sidecar.spec.sidecarId,
    write: async (current) =>
      isWished(current, quarantine) ? current : respecSidecar(context, current, { spec: withWish(context, current.spec, quarantine), ...call }),
  });
}

function withWish({ clock }: Context, { quarantine: _, ...spec }: SidecarSpec, quarantine: QuarantineWish | undefined): SidecarSpec {
  if (quarantine !== undefined) return { ...spec, quarantine };
  return spec.trial === undefined ? spec : { ...spec, trial: trialAnew(spec.trial, clock.nowMs()) };
}
