import { hasLiveGuard } from './live-guard.ts';
import type { RevokedAccess, SidecarSpec } from './model.ts';

/**
 * When a sidecar last lost something that its own guard does not cut, in milliseconds since 1970; undefined: never. A live guard cuts networks; the tailnet's
 * own devices it always lets through, since routers and callers there need its answers.
 */
export function lossFor(
  { networkMode, fragment }: Pick<SidecarSpec, 'networkMode' | 'fragment'>,
  { networksAtMs = 0, devicesAtMs = 0 }: RevokedAccess = {},
): number | undefined {
  const isGuarded = networkMode !== 'userspace' && hasLiveGuard(fragment);
  return Math.max(isGuarded ? 0 : networksAtMs, devicesAtMs) || undefined;
}
