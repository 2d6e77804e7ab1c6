import { BifrostError, Secret } from '@bifrost/types/core';
import type { ControlCredential } from '../../ports/control-plane.ts';
import type { CallOptions } from '../../ports/store.ts';
import { type Caller, readJson, refusal } from './answers.ts';
import { orAbort } from './gate.ts';
import { TokenAnswer } from './schemas.ts';
import type { ApiRequest, ApiTransport } from './transport.ts';

const REFRESH_BEFORE_MS = 60_000;
const TOKEN: ApiRequest = { operation: 'token.create', action: 'signing in with the OAuth client', scope: '', method: 'POST', path: '/oauth/token' };

interface Token {
  readonly value: Secret;
  readonly refreshAtMs: number;
}
interface Flight {
  readonly token: Promise<Token>;
  readonly controller: AbortController;
  waiters: number;
}

/** The access token of one OAuth client: cached until shortly before it expires, fetched once for all who wait. */
export class TokenSource {
  readonly #transport: ApiTransport;
  readonly #caller: Caller;
  readonly #credential: ControlCredential;
  readonly #tailnet: string | undefined;
  #token: Token | undefined;
  #flight: Flight | undefined;

  constructor(init: { transport: ApiTransport; caller: Caller; credential: ControlCredential; tailnet: string | undefined }) {
    this.#transport = init.transport;
    this.#caller = init.caller;
    this.#credential = init.credential;
    this.#tailnet = init.tailnet;
  }

  /** Joins the fetch under way; the fetch itself is aborted only when the last who waits for it leaves. */
  async get(options: CallOptions): Promise<Secret> {
    options.signal.throwIfAborted();
    if (this.#token && this.#caller.clock.nowMs() < this.#token.refreshAtMs) return this.#token.value;
    this.#flight ??= this.#launch();
    const flight = this.#flight;
    flight.waiters += 1;
    try {
      return (await orAbort(flight.token, options)).value;
    } finally {
      flight.waiters -= 1;
      if (flight.waiters === 0) {
        if (this.#flight === flight) this.#flight = undefined;
        flight.controller.abort();
      }
    }
  }

  /** Forgets `refused`, unless a newer one has come already. */
  drop(refused: Secret): void {
    if (this.#token?.value === refused) this.#token = undefined;
  }

  #launch(): Flight {
    const controller = new AbortController();
    const token = this.#fetch({ signal: controller.signal });
    const landed = () => {
      if (this.#flight?.token === token) this.#flight = undefined;
    };
    token.then((fresh) => {
      this.#token = fresh;
      landed();
    }, landed);
    return { token, controller, waiters: 0 };
  }

  async #fetch(options: CallOptions): Promise<Token> {
    const { clientId, clientSecret } = this.#credential;
    const form = new URLSearchParams({ client_id: clientId, client_secret: clientSecret.reveal() });
    if (this.#tailnet !== undefined) form.set('tailnet', this.#tailnet);
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const answer = await this.#transport.send({ ...TOKEN, headers, body: form.toString() }, options);
    // With a tailnet named, 404 may speak of that tailnet.
    if ([400, 401, 403].includes(answer.status) || (answer.status === 404 && this.#tailnet !== undefined)) {
      // The body is left unread: it may repeat what was sent.
      throw new BifrostError({
        code: 'CONTROL_CREDENTIALS_INVALID',
        message: `${TOKEN.action} was refused (HTTP ${answer.status}); check client_id and client_secret, or make a new OAuth client`,
        details: { status: String(answer.status) },
        issues: [{ path: this.#caller.credentialPath, message: 'is refused by the control plane' }],
      });
    }
    if (answer.status !== 200) throw refusal(TOKEN, answer, this.#caller);
    const { access_token, expires_in } = readJson(TOKEN, answer, TokenAnswer);
    const lifetimeMs = expires_in * 1_000;
    const refreshAtMs = this.#caller.clock.nowMs() + lifetimeMs - Math.min(REFRESH_BEFORE_MS, lifetimeMs / 2);
    return { value: new Secret(access_token), refreshAtMs };
  }
}
