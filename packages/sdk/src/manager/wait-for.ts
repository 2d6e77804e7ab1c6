import {
  BifrostError,
  SIDECAR_STATUSES,
  type Sidecar,
  type SidecarStatus,
  TAILNET_STATUSES,
  type Tailnet,
  type TailnetStatus,
} from '@bifrost/types/core';
import type { Call, Context } from './context.ts';
import { refuseFor, requireObject } from './given.ts';
import { findSidecar } from './sidecar-calls.ts';
import { sidecarView } from './sidecar-view.ts';
import { tailnetView } from './tailnet-calls.ts';

/** What to wait for: one tailnet or one sidecar, in a status or gone. */
export type Awaited =
  | { readonly tailnetName: string; readonly status: TailnetStatus | 'gone' }
  | { readonly sidecarId: string; readonly status: SidecarStatus | 'gone' };

/** Changes are only hints here: the store is read again at least this often. */
const LOOK_AGAIN_MS = 1_000;

/** A status that none of them has would be waited for without end. @throws {BifrostError} `INVALID_ARGUMENT` */
function requireAwaited(awaited: Awaited): void {
  const { tailnetName, sidecarId, status } = requireObject(awaited) as Readonly<Record<string, unknown>>;
  if (tailnetName !== undefined && sidecarId !== undefined) refuseFor([{ path: 'sidecarId', message: 'must not be given beside tailnetName' }]);
  if (tailnetName === undefined && sidecarId === undefined) refuseFor([{ path: 'tailnetName', message: 'must be given, or sidecarId' }]);
  const [path, name] = tailnetName === undefined ? ['sidecarId', sidecarId] : ['tailnetName', tailnetName];
  const statuses: readonly unknown[] = [...(tailnetName === undefined ? SIDECAR_STATUSES : TAILNET_STATUSES), 'gone'];
  refuseFor([
    ...(typeof name === 'string' ? [] : [{ path: String(path), message: 'must be text' }]),
    ...(statuses.includes(status) ? [] : [{ path: 'status', message: `must be one of ${statuses.join(', ')}` }]),
  ]);
}

async function look(
  context: Context,
  awaited: Awaited,
  call: Call,
): Promise<{ status: string; value: Tailnet | Sidecar | undefined; reason: string | undefined }> {
  const { tailnetName, sidecarId = '' } = awaited as { readonly tailnetName?: string; readonly sidecarId?: string };
  if (tailnetName !== undefined) {
    const tailnet = await context.store.tailnets.get(tailnetName, call);
    const value = tailnet && tailnetView(tailnet);
    return { status: value?.status ?? 'gone', value, reason: value?.reason?.code };
  }
  const sidecar = await findSidecar(context, sidecarId, call);
  const value = sidecar && sidecarView(context, sidecar);
  return { status: value?.status ?? 'gone', value, reason: value?.reason?.code };
}

/** @see NetworkManager.waitFor */
export async function waitFor(context: Context, awaited: Awaited, { signal }: Call): Promise<Tailnet | Sidecar | undefined> {
  requireAwaited(awaited);
  let wake = (): void => {};
  using _subscription = context.events.onChange(() => wake());
  for (;;) {
    signal.throwIfAborted();
    const hinted = new Promise<void>((resolve) => (wake = resolve));
    const { status, value, reason } = await look(context, awaited, { signal });
    if (status === awaited.status) return value;
    if (status === 'gone' || (status === 'failed' && reason !== undefined)) {
      throw new BifrostError({
        code: 'WAIT_FAILED',
        message: `Waited for ${awaited.status}, but it is ${status}${reason === undefined ? '' : `: ${reason}`}.`,
        issues: [{ path: 'status', message: 'will not come about by waiting' }],
        details: { wanted: awaited.status, status, ...(reason === undefined ? {} : { reason }) },
      });
    }
    await hintOrPause(context, hinted, signal);
  }
}

async function hintOrPause(context: Context, hinted: Promise<void>, signal: AbortSignal): Promise<void> {
  const pause = new AbortController();
  const either = AbortSignal.any([signal, pause.signal]);
  const slept = context.clock.sleep(LOOK_AGAIN_MS, { signal: either }).catch((error: unknown) => {
    if (signal.aborted) throw error;
  });
  await Promise.race([hinted, slept]);
  pause.abort();
  await slept;
}
