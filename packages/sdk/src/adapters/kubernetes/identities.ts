import { hash } from 'node:crypto';
import type { Secret } from '@bifrost/types/core';
import { BoundedMap } from '../../domain/bounded-map.ts';
import { TOKEN_AUDIENCE } from '../../domain/names.ts';
import type { Identities, PodIdentity } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import type { KubernetesConnection } from './connection.ts';
import { clusterError } from './errors.ts';

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly audiences?: readonly string[] | null;
    readonly user?: { readonly username?: string; readonly extra?: Readonly<Record<string, readonly string[] | null>> | null };
  };
}

const KNOWN_FOR_MS = 60_000;
const REFUSED_FOR_MS = 5_000;
const MAX_REMEMBERED = 10_000;
/** A projected token is about 1 KB; the rest of the room is for what issuers may add. */
const MAX_TOKEN_LENGTH = 16_384;

/** Asks the cluster whose a token is (TokenReview), and remembers the answer by the token's hash, never the token. */
export class KubernetesIdentities implements Identities {
  readonly #connection: KubernetesConnection;
  readonly #nowMs: () => number;
  readonly #remembered = new BoundedMap<string, { readonly identity: PodIdentity | undefined; readonly untilMs: number }>(MAX_REMEMBERED);

  constructor(connection: KubernetesConnection, nowMs: () => number) {
    this.#connection = connection;
    this.#nowMs = nowMs;
  }

  async reviewPodToken(token: Secret, { signal }: CallOptions): Promise<PodIdentity | undefined> {
    signal.throwIfAborted();
    const text = token.reveal();
    if (text === '' || text.length > MAX_TOKEN_LENGTH) return undefined;
    const key = hash('sha256', text, 'base64');
    const remembered = this.#remembered.get(key);
    if (remembered !== undefined && this.#nowMs() < remembered.untilMs) return remembered.identity;
    const askedAtMs = this.#nowMs();
    const answer = await this.#connection.send<TokenReview>({
      operation: 'tokenreviews.create',
      kind: 'TokenReview',
      isStored: false,
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/tokenreviews',
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token: text, audiences: [TOKEN_AUDIENCE] } },
      signal,
    });
    if (!answer.ok) throw clusterError(answer.problem, 'review a token');
    const identity = identityOf(answer.body);
    this.#remembered.set(key, { identity, untilMs: askedAtMs + (identity === undefined ? REFUSED_FOR_MS : KNOWN_FOR_MS) });
    return identity;
  }
}

/** A server that does not know audiences answers without any: then the token may be meant for anyone, and proves nothing. */
function identityOf({ status }: TokenReview): PodIdentity | undefined {
  if (status?.authenticated !== true || status.audiences?.includes(TOKEN_AUDIENCE) !== true) return undefined;
  const [, namespace, serviceAccount] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(status.user?.username ?? '') ?? [];
  const podName = status.user?.extra?.['authentication.kubernetes.io/pod-name']?.[0];
  const podUid = status.user?.extra?.['authentication.kubernetes.io/pod-uid']?.[0];
  if (!namespace || !serviceAccount || !podName || !podUid) return undefined;
  return { namespace, serviceAccount, podName, podUid };
}
