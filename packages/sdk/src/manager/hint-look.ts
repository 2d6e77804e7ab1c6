import { BifrostError } from '@bifrost/types/core';
import { type Call, type Context, interruptPaused } from './context.ts';
import { type Outcome, SETTLED } from './work-queue.ts';

/**
 * One read of the tailnet or sidecar that a hint is about: it may be our own write, or older than it, and a round asks for much more. Where the read
 * fails, a round tells why.
 */
export async function lookAtHint(context: Context, { kind, name }: { readonly kind: string; readonly name: string }, call: Call): Promise<Outcome> {
  try {
    await (kind === 'tailnet' ? lookAtTailnet(context, name, call) : lookAtSidecar(context, name, call));
  } catch (error) {
    if (!BifrostError.is(error) || call.signal.aborted) throw error;
    context.touch(kind === 'tailnet' ? kind : 'sidecar', name);
  }
  return SETTLED;
}

async function lookAtTailnet(context: Context, key: string, call: Call): Promise<void> {
  const tailnet = await context.store.tailnets.get(key, call);
  if (context.announcer.hasSeen('tailnet', key, tailnet?.version)) return;
  if (tailnet?.spec.paused === true) interruptPaused(context, key);
  context.touch('tailnet', key);
}

async function lookAtSidecar({ store, observed, announcer, touch }: Context, key: string, call: Call): Promise<void> {
  const sidecar = await store.sidecars.get(key, call);
  observed.sawSidecar(key, sidecar);
  if (!announcer.hasSeen('sidecar', key, sidecar?.version)) touch('sidecar', key);
}
