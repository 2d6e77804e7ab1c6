import { ErrorInfoSchema, NetworkManager } from '@bifrost/types/proto';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { Agent, request } from 'undici';
import { authority, type ClientIdentity } from './certificates.ts';

export interface OutsideOptions {
  /** The certificate that the caller shows; none by default. */
  readonly identity?: ClientIdentity | undefined;
  /** Envoy's, or the service's own (8444). @default 8080 */
  readonly port?: number;
}

/** A caller outside of the platform, on connections of its own: gRPC by the generated client, and REST, both over TLS. */
export class Outside implements AsyncDisposable {
  readonly client: Client<typeof NetworkManager>;
  readonly #origin: string;
  readonly #sessions: Http2SessionManager;
  readonly #agent: Agent;

  constructor(address: string, { identity, port = 8080 }: OutsideOptions = {}) {
    const shown = identity === undefined ? {} : { cert: identity.cert, key: identity.key };
    const tls = { ca: authority(), servername: 'bifrost.bifrost.svc', ...shown };
    this.#origin = `https://${address}:${port}`;
    this.#sessions = new Http2SessionManager(this.#origin, {}, tls);
    this.#agent = new Agent({ connect: tls });
    this.client = createClient(NetworkManager, createGrpcTransport({ baseUrl: this.#origin, sessionManager: this.#sessions }));
  }

  /** Status of a GET over REST. */
  async get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<number> {
    const answer = await request(`${this.#origin}/api/v1/networks${path}`, { dispatcher: this.#agent, headers });
    await answer.body.dump();
    return answer.statusCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sessions.abort();
    await this.#agent.destroy();
  }
}

/** How a call was refused: the code of gRPC by name, ours where the service itself spoke, and the sentence. */
export async function refusalOf(
  call: Promise<unknown>,
): Promise<{ readonly code: string; readonly reason: string | undefined; readonly message: string }> {
  const error = await call.then(
    () => Promise.reject(new Error('it was answered')),
    (told: unknown) => told,
  );
  if (!(error instanceof ConnectError)) throw error;
  return { code: Code[error.code], reason: error.findDetails(ErrorInfoSchema)[0]?.reason, message: error.rawMessage };
}
