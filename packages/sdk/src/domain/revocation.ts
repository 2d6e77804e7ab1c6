import { hasLiveGuard } from './live-guard.ts';
import type { RevokedAccess, SidecarSpec } from './model.ts';

type Guarded = Pick<SidecarSpec, 'networkMode' | 'fragment'>;

const isGuarded = ({ networkMode, fragment }: Guarded): boolean => networkMode !== 'userspace' && hasLiveGuard(fragment);

/**
 * When a sidecar last lost something that its own guard does not cut, in milliseconds since 1970; undefined: never. A live guard cuts networks; the tailnet's
 * own devices it always lets through, since routers and callers there need its answers.
 */
export function lossFor(spec: Guarded, { networksAtMs = 0, devicesAtMs = 0 }: RevokedAccess = {}): number | undefined {
  return Math.max(isGuarded(spec) ? 0 : networksAtMs, devicesAtMs) || undefined;
}

/** When it last lost something that its guard is to cut by an order. */
export const orderedLossFor = (spec: Guarded, { networksAtMs }: RevokedAccess = {}): number | undefined =>
  isGuarded(spec) ? networksAtMs : undefined;
