import { BifrostError } from '@bifrost/types/core';
import { type Relay, relayOf } from '../../domain/policy/relays.ts';
import type { Clock } from '../../ports/clock.ts';
import type { CallOptions } from '../../ports/store.ts';
import { readJson, refusal } from './answers.ts';
import type { ResolvedTailscaleOptions } from './options.ts';
import { RelaysAnswer } from './schemas.ts';
import type { ApiRequest, ApiTransport } from './transport.ts';

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
  readonly #keptMs: number;
  #kept: { readonly relays: readonly Relay[]; readonly untilMs: number } | undefined;

  constructor(transport: ApiTransport, { clock, relaysKeptMs }: Pick<ResolvedTailscaleOptions, 'clock' | 'relaysKeptMs'>) {
    this.#transport = transport;
    this.#clock = clock;
    this.#keptMs = relaysKeptMs;
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
    const relays = Object.freeze(Regions.flatMap(({ nodes, ...region }) => nodes.map((node) => relayOf(region, node))));
    this.#kept = { relays, untilMs: this.#clock.nowMs() + this.#keptMs };
    return relays;
  }
}
