import { Agent, request } from 'undici';
import { type AdminCall, type ApiServer, adminOf } from '../../support/api-server.ts';
import { pause } from '../../support/pause.ts';

/** Content type of a merge patch. */
export const MERGE = 'application/merge-patch+json';

export interface KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly finalizers?: readonly string[];
    readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly uid: string; readonly controller?: boolean }[];
  };
  // biome-ignore lint/suspicious/noExplicitAny: objects of many kinds, read by path
  readonly [member: string]: any;
}

/** The administrator's own way to the API server: past the proxy, by plain requests that share no code with the adapters. */
export class Admin implements AsyncDisposable {
  readonly call: AdminCall;
  readonly #api: ApiServer;
  readonly #agent = new Agent({ connect: { rejectUnauthorized: false }, bodyTimeout: 0 });
  readonly #own: AsyncDisposable & { readonly call: AdminCall };
  readonly #stop = new AbortController();

  constructor(api: ApiServer) {
    this.#api = api;
    this.#own = adminOf({ url: api.url, token: api.adminToken });
    this.call = this.#own.call;
  }

  async must(method: string, path: string, ...[body, contentType]: [body?: unknown, contentType?: string]): Promise<KubeObject> {
    const answer = await this.call(method, path, body, contentType);
    if (answer.status > 299) throw new Error(`${method} ${path}: HTTP ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body as KubeObject;
  }

  async get(path: string): Promise<KubeObject | undefined> {
    const answer = await this.call('GET', path);
    if (answer.status === 404) return undefined;
    if (answer.status > 299) throw new Error(`GET ${path}: HTTP ${answer.status}`);
    return answer.body as KubeObject;
  }

  async list(path: string): Promise<readonly KubeObject[]> {
    return ((await this.must('GET', path)) as unknown as { readonly items?: readonly KubeObject[] }).items ?? [];
  }

  /** Tells of every object of the collection and of each change, until disposed. A watch that breaks begins anew. */
  async follow(path: string, tell: (type: string, object: KubeObject) => void): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const list = (await this.must('GET', path)) as unknown as { metadata: { resourceVersion: string }; items?: readonly KubeObject[] };
        for (const object of list.items ?? []) tell('ADDED', object);
        await this.#watch(path, list.metadata.resourceVersion, tell);
      } catch {
        if (!signal.aborted) await pause(100, undefined, { signal }).catch(() => {});
      }
    }
  }

  async #watch(path: string, from: string, tell: (type: string, object: KubeObject) => void): Promise<void> {
    const answer = await request(`${this.#api.url}${path}?watch=1&resourceVersion=${from}`, {
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${this.#api.adminToken}` },
      signal: this.#stop.signal,
    });
    let rest = '';
    for await (const chunk of answer.body.setEncoding('utf8') as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const { type, object } = JSON.parse(line) as { readonly type: string; readonly object: KubeObject };
        if (type === 'ERROR') return;
        tell(type, object);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#agent.destroy();
    await this.#own[Symbol.asyncDispose]();
  }
}
