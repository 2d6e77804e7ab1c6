import { createHash } from 'node:crypto';
import type { Secret } from '@bifrost/types/core';
import type { ControlCredential } from '../../ports/control-plane.ts';
import type { CallOptions } from '../../ports/store.ts';
import { type Caller, refusal } from './answers.ts';
import { Gate } from './gate.ts';
import type { ResolvedTailscaleOptions } from './options.ts';
import { TokenSource } from './token.ts';
import type { ApiAnswer, ApiRequest, ApiTransport } from './transport.ts';

const MOST_SESSIONS = 1_024;

/** One credential's way into the API: its token and its share of the connections. */
export class ApiSession {
  readonly #transport: ApiTransport;
  readonly #caller: Caller;
  readonly #token: TokenSource;
  readonly #gate: Gate;
  #calls = 0;

  constructor(init: { transport: ApiTransport; options: ResolvedTailscaleOptions; credential: ControlCredential; tailnet: string | undefined }) {
    this.#transport = init.transport;
    const { clock, organization } = init.options;
    this.#caller = { clock, credentialPath: init.credential === organization ? 'organization' : 'credential.secretName' };
    this.#token = new TokenSource({ ...init, caller: this.#caller });
    this.#gate = new Gate(init.options.maxConcurrent);
  }

  get idle(): boolean {
    return this.#calls === 0;
  }

  /** Calls the API and hands a success to `read`. Nothing is tried again here but a call whose token had died. */
  async call<T>(request: ApiRequest, read: (request: ApiRequest, answer: ApiAnswer) => T, options: CallOptions): Promise<T> {
    this.#calls += 1;
    try {
      const answer = await this.#gate.run(() => this.#sendSigned(request, options), options);
      if (answer.status < 200 || answer.status > 299) throw refusal(request, answer, this.#caller);
      return read(request, answer);
    } finally {
      this.#calls -= 1;
    }
  }

  async #sendSigned(request: ApiRequest, options: CallOptions): Promise<ApiAnswer> {
    const first = await this.#token.get(options);
    const answer = await this.#transport.send(signed(request, first), options);
    if (answer.status !== 401) return answer;
    this.#token.drop(first);
    const second = await this.#token.get(options);
    const again = await this.#transport.send(signed(request, second), options);
    if (again.status === 401) this.#token.drop(second);
    return again;
  }
}

const signed = (request: ApiRequest, token: Secret): ApiRequest => ({
  ...request,
  headers: { ...request.headers, authorization: `Bearer ${token.reveal()}` },
});

/** Sessions by credential: the same client shares one token, another secret is another session. */
export class Sessions {
  readonly #transport: ApiTransport;
  readonly #options: ResolvedTailscaleOptions;
  readonly #byCredential = new Map<string, ApiSession>();
  constructor(transport: ApiTransport, options: ResolvedTailscaleOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  of(credential: ControlCredential, tailnet?: string): ApiSession {
    const parts = JSON.stringify([credential.clientId, credential.clientSecret.reveal(), tailnet ?? null]);
    const key = createHash('sha256').update(parts).digest('base64');
    const known = this.#byCredential.get(key);
    this.#byCredential.delete(key);
    const session = known ?? new ApiSession({ transport: this.#transport, options: this.#options, credential, tailnet });
    this.#byCredential.set(key, session); // last in line: the first are the longest unused
    if (this.#byCredential.size > MOST_SESSIONS) this.#forgetOne();
    return session;
  }

  #forgetOne(): void {
    for (const [key, session] of this.#byCredential) {
      if (!session.idle) continue;
      this.#byCredential.delete(key);
      return;
    }
  }
}
