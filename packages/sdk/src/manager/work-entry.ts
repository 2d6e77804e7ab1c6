import type { WorkGroup } from './work-group.ts';

/** A key of the queue. */
export interface Entry {
  group: WorkGroup;
  /** Ends the round that is under way; undefined between rounds. */
  round: AbortController | undefined;
  /** A hint came that the present or last round may not have seen. */
  again: boolean;
  failures: number;
  /** The last round failed: the next one is a retry, whoever asks for it, and is paid for by the group. */
  doubtful: boolean;
  /** Something else is wanted since the round under way began. */
  urged: boolean;
  timer: AbortController | undefined;
}

export const newEntry = (group: WorkGroup): Entry => ({
  ...{ group, round: undefined, again: false, failures: 0, doubtful: false, urged: false, timer: undefined },
});

/** Part of all places that one group may hold. */
export const SHARE = 4;
/** Somebody else was quicker: the first of these in a row is nobody's trouble, and its retry is free. */
export const RACES: ReadonlySet<string> = new Set(['STORE_CONFLICT', 'STORE_NOT_FOUND', 'CLUSTER_CONFLICT', 'CONTROL_CONFLICT']);
