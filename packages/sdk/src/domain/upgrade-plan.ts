import type { Reason, UpgradeState } from './model.ts';

/** One sidecar of the tailnet, as an upgrade sees it. */
export interface UpgradeMember {
  readonly key: string;
  readonly sidecarId: string;
  /** The upgrade has come to it. */
  readonly reached: boolean;
  readonly onTrial: boolean;
  /** It has been rolled back. */
  readonly reverted: Reason | undefined;
}

export interface WavePlan {
  readonly state: UpgradeState;
  /** Keys of the sidecars whose turn it is. */
  readonly start: readonly string[];
}

/** The next wave: nobody starts before the last wave has proved itself, and nobody at all once one was rolled back. */
export function planWave(
  members: readonly UpgradeMember[],
  { upgradeId, waveSize }: { readonly upgradeId: string; readonly waveSize: number },
): WavePlan {
  const done = members.filter(({ reached, onTrial, reverted }) => reached && !onTrial && reverted === undefined).length;
  const state: UpgradeState = { upgradeId, total: members.length, done };
  const failed = members.find(({ reached, reverted }) => reached && reverted !== undefined);
  if (failed?.reverted !== undefined) return { state: { ...state, haltedBy: { ...failed.reverted, sidecarId: failed.sidecarId } }, start: [] };
  if (done === members.length) return { state: { ...state, finished: true }, start: [] };
  if (members.some(({ reached, onTrial }) => reached && onTrial)) return { state, start: [] };
  const next = members.filter(({ reached }) => !reached).slice(0, waveSize);
  return { state, start: next.map(({ key }) => key) };
}
