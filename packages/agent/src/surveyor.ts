import { type AgentSign, BifrostError } from '@bifrost/types/core';
import { Bell, pause } from './bell.ts';
import type { DaemonPeer } from './domain/daemon.ts';
import { LARGE_PING_BYTES, LargePings } from './domain/large-pings.ts';
import type { PingRecord } from './domain/pings.ts';
import { type DaemonPrefs, type DroppedPackets, DropTrend, Identities } from './domain/survey.ts';
import type { Clock } from './ports/clock.ts';
import type { LocalApi } from './ports/local-api.ts';
import type { Surroundings } from './ports/surroundings.ts';

export interface SurveyorParts {
  readonly localApi: LocalApi;
  readonly surroundings: Surroundings;
  readonly clock: Clock;
  /** Between heartbeats, milliseconds. */
  readonly intervalMs: () => number;
  /** Routers and peers in use; undefined while the daemon is away. */
  readonly peersInUse: () => readonly DaemonPeer[] | undefined;
  readonly pings: () => ReadonlyMap<string, PingRecord>;
  readonly onChange: () => void;
}

/** A survey for so many heartbeats: what it finds changes seldom. */
const BEATS = 6;
/** However often it is rung for. */
const GAP_MS = 1000;

/** What the daemon says to a question that it may have been built without. A failure is no news here: the status tells whether the daemon is there. */
export async function extra<T>(ask: () => Promise<T | undefined>, signal: AbortSignal): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    signal.throwIfAborted();
    if (!BifrostError.is(error)) throw error;
    return undefined;
  }
}

/** Finds out, now and then, what the daemon's status does not say: settings, forwarding, dropped packets, packet sizes, owners of peers. */
export class Surveyor {
  readonly identities = new Identities();
  readonly largePings = new LargePings();
  readonly #parts: SurveyorParts;
  readonly #bell = new Bell();
  readonly #trend = new DropTrend();
  #prefs: DaemonPrefs | undefined;
  #dropped: DroppedPackets | undefined;
  #forwardingIsOff = false;
  #groIsOff = false;
  #isDue = true;

  constructor(parts: SurveyorParts) {
    this.#parts = parts;
  }

  get advertisedRoutes(): readonly string[] | undefined {
    return this.#prefs?.advertisedRoutes;
  }

  get dropped(): DroppedPackets | undefined {
    return this.#dropped;
  }

  get signs(): readonly AgentSign[] {
    const signs: readonly (readonly [AgentSign, boolean])[] = [
      ['ip-forwarding', this.#forwardingIsOff],
      ['mtu', this.largePings.anyLoses],
      ['udp-gro-forwarding', this.#groIsOff],
      ['udp-offload', this.#trend.isRising],
    ];
    return signs.filter(([, is]) => is).map(([sign]) => sign);
  }

  /** Everything is to be asked again. */
  ring(): void {
    this.#isDue = true;
    this.#bell.ring();
  }

  /** The peers are others now: there may be one whose owner is not known. */
  notice(): void {
    if (this.#unknown().length > 0) this.#bell.ring();
  }

  /** Asks until the signal aborts, then rejects with its reason. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock, peersInUse } = this.#parts;
    for (let nextMs = 0; ; ) {
      if (peersInUse() !== undefined) {
        if (this.#isDue || clock.monotonicMs() >= nextMs) {
          this.#isDue = false;
          await this.#survey(signal);
          nextMs = clock.monotonicMs() + BEATS * this.#parts.intervalMs() * (0.9 + 0.2 * clock.random());
        }
        await this.#identify(signal);
        await pause(Math.min(GAP_MS, this.#parts.intervalMs()), { signal });
      }
      const waitMs = peersInUse() === undefined ? Number.POSITIVE_INFINITY : Math.max(0, nextMs - clock.monotonicMs());
      await this.#bell.wait(waitMs, { signal });
    }
  }

  async #survey(signal: AbortSignal): Promise<void> {
    const { localApi, onChange } = this.#parts;
    this.#prefs = (await extra(() => localApi.prefs({ signal }), signal)) ?? this.#prefs;
    const advertised = this.#prefs?.advertisedRoutes ?? [];
    // Both matter to those only who pass packets on.
    const warns = (check: Parameters<LocalApi['warns']>[0]) =>
      advertised.length === 0 ? undefined : extra(() => localApi.warns(check, { signal }), signal);
    this.#forwardingIsOff = (await warns('ip-forwarding')) === true && this.#kernelDoesNotForward(advertised);
    this.#groIsOff = (await warns('udp-gro-forwarding')) === true;
    this.#dropped = await extra(() => localApi.droppedPackets({ signal }), signal);
    if (this.#dropped !== undefined) this.#trend.observe(this.#dropped);
    await this.#pingLarge(signal);
    onChange();
  }

  /** tailscaled looks at both address families, whichever is advertised. */
  #kernelDoesNotForward(routes: readonly string[]): boolean {
    const families = new Set(routes.map((route) => (route.includes(':') ? 6 : 4)));
    return [...families].some((family) => this.#parts.surroundings.forwards(family) !== true);
  }

  async #pingLarge(signal: AbortSignal): Promise<void> {
    const { localApi, clock, peersInUse, pings } = this.#parts;
    // One after the other: nobody waits for them, and each at the same time would take a connection of its own.
    for (const { id, ip } of this.largePings.due(peersInUse() ?? [], pings(), clock.monotonicMs())) {
      if (ip === undefined) continue;
      try {
        const answer = await localApi.ping(ip, { signal, sizeBytes: LARGE_PING_BYTES });
        this.largePings.record(id, answer?.path, clock.monotonicMs());
      } catch (error) {
        signal.throwIfAborted();
        if (!BifrostError.is(error)) throw error; // the daemon's trouble, not the path's
      }
    }
  }

  #unknown(): readonly DaemonPeer[] {
    const { clock, peersInUse } = this.#parts;
    return this.identities.wanted(peersInUse() ?? [], clock.monotonicMs());
  }

  async #identify(signal: AbortSignal): Promise<void> {
    const { localApi, clock } = this.#parts;
    for (const { id, ip } of this.#unknown()) {
      if (ip === undefined) continue;
      const identity = await extra(() => localApi.whoIs(ip, { signal }), signal);
      this.identities.set(id, identity, clock.monotonicMs());
    }
  }
}
