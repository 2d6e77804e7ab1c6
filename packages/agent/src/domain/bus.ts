import { REPORT_LIMITS, type ReportWarning, WARNING_SEVERITIES } from '@bifrost/types/core';
import { isObject, textOf, timeOf, WORD } from './raw.ts';

/** Something changed. */
export interface BusHint {
  /** There when the message carried them: all of the daemon's health warnings, by code. */
  readonly warnings?: readonly ReportWarning[];
  /** The daemon's settings are others now. */
  readonly prefs?: true;
}

interface RawNotify {
  readonly Health?: { readonly Warnings?: Readonly<Record<string, unknown>> | null } | null;
  readonly Prefs?: unknown;
  readonly [member: string]: unknown;
}
interface RawWarning {
  readonly Severity?: unknown;
  readonly BrokenSince?: unknown;
  readonly ImpactsConnectivity?: unknown;
}

/** What a bus message carries that can change the picture. `Engine` and empty messages do not: reading the status may itself cause them. */
const TELLING = [
  'State',
  'Health',
  'Prefs',
  'SelfChange',
  'InitialStatus',
  'NetMap',
  'PeerChangedPatch',
  'PeersChanged',
  'PeersRemoved',
  'PeerState',
  // The last word to a reader that fell behind; the stream ends after it, and the next one begins with the whole state.
  'ErrMessage',
];

/** Reads one bus message; undefined when it changes nothing for us. */
export function readNotify(json: unknown): BusHint | undefined {
  if (!isObject(json)) return undefined;
  const raw = json as RawNotify;
  if (!TELLING.some((member) => raw[member] !== undefined && raw[member] !== null)) return undefined;
  return {
    ...(isObject(raw.Health) ? { warnings: warningsOf(raw.Health.Warnings ?? {}) } : {}),
    ...(isObject(raw.Prefs) ? { prefs: true as const } : {}),
  };
}

function warningsOf(warnings: Readonly<Record<string, unknown>>): readonly ReportWarning[] {
  return Object.entries(warnings)
    .flatMap(([key, value]): ReportWarning[] => {
      const code = textOf(key, WORD);
      return code === undefined ? [] : [warningOf(code, isObject(value) ? value : {})];
    })
    .sort((a, b) => (a.code < b.code ? -1 : 1))
    .slice(0, REPORT_LIMITS.maxHealth);
}

function warningOf(code: string, raw: RawWarning): ReportWarning {
  const sinceMs = timeOf(raw.BrokenSince);
  return {
    code,
    severity: WARNING_SEVERITIES.find((severity) => severity === raw.Severity) ?? 'medium',
    ...(raw.ImpactsConnectivity === true ? { impactsConnectivity: true } : {}),
    ...(sinceMs === undefined ? {} : { sinceMs }),
  };
}

// InitialState 2, InitialHealthState 128, HealthActions 512. Not InitialPrefs, not InitialStatus: we read settings and status ourselves.
const INITIAL_STATE = 2;
const HEALTH = 128;
const BASE = INITIAL_STATE | HEALTH | 512;
const RATE_LIMIT = 256; // daemons before 1.100 push whole network maps; refused together with the newer bits
const DELTAS = 4096 | 8192 | 32_768; // PeerChanges, NoNetMap, PeerPatches: since 1.100
const PEER_STATES = 262_144; // PeerWireGuardState: since 1.102

/** Whether a stream with that mask tells health; where it does not, what was heard before is old. */
export const tellsHealth = (mask: number): boolean => (mask & HEALTH) !== 0;

/**
 * Bus masks for a daemon of that version, the best first: whoever is answered 400 takes the next. A version that cannot be read gets what every daemon
 * understands.
 */
export function busMasks(daemonVersion: string | undefined): readonly number[] {
  const [, major = 0, minor = 0] = /^(\d+)\.(\d+)/.exec(daemonVersion ?? '')?.map(Number) ?? [];
  const since = (wanted: number): boolean => major > 1 || (major === 1 && minor >= wanted);
  return [
    ...(since(102) ? [BASE | DELTAS | PEER_STATES] : []),
    ...(since(100) ? [BASE | DELTAS] : []),
    BASE | RATE_LIMIT,
    INITIAL_STATE | HEALTH,
    INITIAL_STATE,
  ];
}
