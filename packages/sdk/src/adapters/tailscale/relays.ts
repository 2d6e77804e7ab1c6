import { BifrostError, parseAddress } from '@bifrost/types/core';
import type { Relay } from '../../domain/policy/relays.ts';
import type { Clock } from '../../ports/clock.ts';
import type { CallOptions } from '../../ports/store.ts';
import { readJson, refusal } from './answers.ts';
import { RelaysAnswer, type RelaysRegion } from './schemas.ts';
import type { ApiRequest, ApiTransport } from './transport.ts';

/** Relays come and go by the month. */
const KEPT_MS = 600_000;
const DERP_PORT = 443;
const STUN_PORT = 3478;

const REQUEST: ApiRequest = {
  operation: 'relays.read',
  action: 'reading the relays',
  scope: '',
  method: 'GET',
  server: 'login',
  path: '/derpmap/default',
};

/** The relays' map as the login server publishes it, to anyone: kept for some minutes, a fault never. */
export class RelayMap {
  readonly #transport: ApiTransport;
  readonly #clock: Clock;
  #kept: { readonly relays: readonly Relay[]; readonly untilMs: number } | undefined;

  constructor(transport: ApiTransport, clock: Clock) {
    this.#transport = transport;
    this.#clock = clock;
  }

  async read(options: CallOptions): Promise<readonly Relay[]> {
    options.signal.throwIfAborted();
    if (this.#kept !== undefined && this.#clock.nowMs() < this.#kept.untilMs) return this.#kept.relays;
    const answer = await this.#transport.send(REQUEST, options);
    if (answer.status === 429 || answer.status >= 500) throw refusal(REQUEST, answer, { credentialPath: '', clock: this.#clock });
    if (answer.status !== 200) {
      const message = `${REQUEST.action}: the login server has no ${REQUEST.path} (HTTP ${answer.status}); check the setting loginServer`;
      throw new BifrostError({ code: answer.status === 404 ? 'CONTROL_NOT_FOUND' : 'CONTROL_ANSWER_INVALID', message });
    }
    const { Regions } = readJson(REQUEST, answer, RelaysAnswer);
    const relays = Object.freeze(Regions.flatMap(relaysOf));
    this.#kept = { relays, untilMs: this.#clock.nowMs() + KEPT_MS };
    return relays;
  }
}

function relaysOf({ RegionCode, RegionName, Nodes }: RelaysRegion): readonly Relay[] {
  return Nodes.map((node) => ({
    region: RegionCode,
    regionName: RegionName || RegionCode,
    host: node.HostName,
    // What is no address says that there is none: `none`.
    addresses: [node.IPv4, node.IPv6].flatMap((text) => (text && text !== node.HostName && parseAddress(text) !== undefined ? [text] : [])),
    port: node.STUNOnly === true ? undefined : node.DERPPort || DERP_PORT,
    stunPort: (node.STUNPort ?? 0) < 0 ? undefined : node.STUNPort || STUN_PORT,
  }));
}
