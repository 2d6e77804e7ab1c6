import { REPORT_LIMITS } from '@bifrost/types/core';
import type { DaemonPeer } from './daemon.ts';
import { isObject, NAME, textOf, textsOf, WORD } from './raw.ts';

/** The daemon's settings, as far as we use them. */
export interface DaemonPrefs {
  readonly advertisedRoutes: readonly string[];
  readonly wantsToRun: boolean;
  /** Its control server; empty for Tailscale's own. */
  readonly controlUrl: string;
}

/** Whose machine a peer is. */
export interface Identity {
  readonly user?: string;
  readonly tags?: readonly string[];
}

/** Packets that the daemon dropped because of errors, since it started. */
export interface DroppedPackets {
  readonly inbound: number;
  readonly outbound: number;
}

interface RawPrefs {
  readonly AdvertiseRoutes?: unknown;
  readonly WantRunning?: unknown;
  readonly ControlURL?: unknown;
}
interface RawWhoIs {
  readonly Node?: { readonly Tags?: unknown } | null;
  readonly UserProfile?: { readonly LoginName?: unknown } | null;
}

export function readPrefs(json: unknown): DaemonPrefs | undefined {
  if (!isObject(json)) return undefined;
  const raw: RawPrefs = json;
  return {
    advertisedRoutes: textsOf(raw.AdvertiseRoutes).slice(0, REPORT_LIMITS.maxRoutesPerPeer),
    wantsToRun: raw.WantRunning === true,
    controlUrl: typeof raw.ControlURL === 'string' ? raw.ControlURL : '',
  };
}

/** A tagged machine belongs to nobody: the daemon has a stand-in for its owner, which we leave out. A tag too long to carry whole is left out too. */
export function readIdentity(json: unknown): Identity | undefined {
  if (!isObject(json)) return undefined;
  const raw: RawWhoIs = json;
  const tags = textsOf(raw.Node?.Tags).filter((tag) => tag.length <= WORD && textOf(tag, WORD) === tag);
  if (tags.length > 0) return { tags: tags.slice(0, REPORT_LIMITS.maxTagsPerPeer) };
  const user = textOf(raw.UserProfile?.LoginName, NAME);
  return user === undefined ? {} : { user };
}

/** Reads the daemon's Prometheus text; undefined when it does not tell. */
export function readDroppedPackets(text: string): DroppedPackets | undefined {
  const of = (way: string): number | undefined => {
    const [, digits] = new RegExp(`^tailscaled_${way}_dropped_packets_total\\{[^}\\n]*reason="error"[^}\\n]*\\} (\\d+)`, 'm').exec(text) ?? [];
    return digits === undefined ? undefined : Number(digits);
  };
  const [inbound, outbound] = [of('inbound'), of('outbound')];
  return inbound === undefined && outbound === undefined ? undefined : { inbound: inbound ?? 0, outbound: outbound ?? 0 };
}

/** Fewer dropped packets than this between two looks are no sign: a link that comes and goes drops some. */
const DROPS_THAT_TELL = 10;
/** So many looks in a row, and the count still rises. */
const LOOKS_THAT_TELL = 2;

/** Whether the daemon's count of dropped packets keeps rising. */
export class DropTrend {
  #last: number | undefined;
  #rises = 0;

  get isRising(): boolean {
    return this.#rises >= LOOKS_THAT_TELL;
  }

  observe({ inbound, outbound }: DroppedPackets): void {
    const now = inbound + outbound;
    if (this.#last !== undefined) this.#rises = now - this.#last >= DROPS_THAT_TELL ? this.#rises + 1 : 0; // a restarted daemon counts from zero
    this.#last = now;
  }
}

const MAX_IDENTITIES = 256;
/** A machine can get other tags or another owner. */
const IDENTITY_MS = 3_600_000;
/** Who is unknown to the daemon, or asked for in vain, is asked for again after that. */
const UNKNOWN_MS = 60_000;
const MAX_ASKED = 8;

/** Whose the peers in use are; asked once in an hour, a few at a time, in bounded memory. */
export class Identities {
  readonly #known = new Map<string, { readonly identity: Identity | undefined; readonly untilMs: number }>();

  of(peerId: string): Identity {
    return this.#known.get(peerId)?.identity ?? {};
  }

  get size(): number {
    return this.#known.size;
  }

  /** Who of these is to be asked for now. */
  wanted(peers: readonly DaemonPeer[], nowMs: number): readonly DaemonPeer[] {
    return peers.filter(({ id, ip }) => ip !== undefined && (this.#known.get(id)?.untilMs ?? 0) <= nowMs).slice(0, MAX_ASKED);
  }

  set(peerId: string, identity: Identity | undefined, nowMs: number): void {
    this.#known.delete(peerId); // to the end: the first of the map is the oldest
    this.#known.set(peerId, { identity, untilMs: nowMs + (identity === undefined ? UNKNOWN_MS : IDENTITY_MS) });
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_IDENTITIES && oldest !== undefined) this.#known.delete(oldest);
  }
}
