import { Agent, request } from 'undici';
import type { Answer } from './kubernetes.ts';

/** As the control server says it. Only what tests read. */
export interface ControlDevice {
  readonly nodeId: string;
  readonly name: string;
  readonly hostname: string;
  readonly addresses: readonly string[];
  readonly tags?: readonly string[] | null;
  readonly isEphemeral: boolean;
  readonly connectedToControl: boolean;
  readonly machineKey: string;
  readonly nodeKey: string;
  readonly advertisedRoutes: readonly string[];
  readonly enabledRoutes: readonly string[];
}
export interface ControlKey {
  readonly id: string;
  readonly description?: string;
  readonly invalid?: boolean;
  readonly expires: string;
  readonly capabilities: {
    readonly devices: { readonly create: { readonly reusable: boolean; readonly ephemeral: boolean; readonly tags?: readonly string[] | null } };
  };
}
export interface ControlTailnetSummary {
  readonly id: string;
  readonly displayName: string;
}
export interface OAuthClient {
  readonly id: string;
  readonly secret: string;
}
export interface KeyInput {
  readonly tags: readonly string[];
  readonly description?: string;
  readonly reusable?: boolean;
  readonly ephemeral?: boolean;
  readonly expirySeconds?: number;
}

/** What the lab's control server knows as the organization's client. */
export const ORGANIZATION: OAuthClient = { id: 'org', secret: 'tskey-client-org' };

/**
 * API v2 of the lab's control server as one OAuth client sees it: what a customer, or an auditor, does and reads back, with nothing of Bifrost in between.
 * The token is asked for at the first call.
 */
export class ControlClient implements AsyncDisposable {
  readonly url: string;
  readonly client: OAuthClient;
  readonly #agent = new Agent();
  #token: Promise<string> | undefined;

  constructor(client: OAuthClient, url = 'http://10.244.0.1:9911') {
    this.client = client;
    this.url = url;
  }

  async call<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer<T> & { readonly etag: string | undefined }> {
    this.#token ??= this.#newToken();
    const answer = await request(`${this.url}/api/v2${path}`, {
      dispatcher: this.#agent,
      method: method as 'GET',
      headers: { authorization: `Bearer ${await this.#token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    const json = String(answer.headers['content-type'] ?? '').includes('application/json') && text !== '';
    return { status: answer.statusCode, body: (json ? JSON.parse(text) : text) as T, etag: answer.headers['etag'] as string | undefined };
  }

  async must<T = unknown>(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<T> {
    const answer = await this.call<T>(method, path, body, headers);
    if (answer.status > 299) throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async devices(): Promise<readonly ControlDevice[]> {
    return (await this.must<{ devices: ControlDevice[] }>('GET', '/tailnet/-/devices?fields=all')).devices;
  }

  /** Auth keys that are not revoked. */
  async keys(): Promise<readonly ControlKey[]> {
    const { keys } = await this.must<{ keys: (ControlKey & { keyType?: string; revoked?: string })[] }>('GET', '/tailnet/-/keys?all=true');
    return keys.filter(({ keyType = 'auth', revoked }) => keyType === 'auth' && !revoked);
  }

  async createKey({
    tags,
    description = 'lab',
    reusable = false,
    ephemeral = false,
    expirySeconds = 3600,
  }: KeyInput): Promise<{ readonly id: string; readonly key: string }> {
    const create = { reusable, ephemeral, preauthorized: true, tags };
    return this.must('POST', '/tailnet/-/keys', { description, expirySeconds, capabilities: { devices: { create } } });
  }

  /** Another OAuth client of the tailnet, with these scopes and no others. */
  async createClient(scopes: readonly string[]): Promise<OAuthClient> {
    const { id, key } = await this.must<{ id: string; key: string }>('POST', '/tailnet/-/keys', { keyType: 'client', scopes });
    return { id, secret: key };
  }

  async deleteDevice(nodeId: string): Promise<void> {
    await this.must('DELETE', `/device/${nodeId}`);
  }

  async approveRoutes(nodeId: string, routes: readonly string[]): Promise<void> {
    await this.must('POST', `/device/${nodeId}/routes`, { routes });
  }

  /** Gives the device's key an expiry, months away as the control plane has it, until disposed. */
  async letKeyExpire(nodeId: string): Promise<AsyncDisposable> {
    const set = (keyExpiryDisabled: boolean) => this.must('POST', `/device/${nodeId}/key`, { keyExpiryDisabled });
    await set(false);
    return { [Symbol.asyncDispose]: async () => void (await set(true)) };
  }

  async policy(): Promise<{ readonly text: string; readonly etag: string | undefined }> {
    const { body, etag } = await this.call('GET', '/tailnet/-/acl');
    return { text: typeof body === 'string' ? body : JSON.stringify(body), etag };
  }

  async setPolicy(policy: unknown): Promise<void> {
    await this.must('POST', '/tailnet/-/acl', policy);
  }

  /** As the organization. */
  async tailnets(): Promise<readonly ControlTailnetSummary[]> {
    return (await this.must<{ tailnets: ControlTailnetSummary[] }>('GET', '/organizations/-/tailnets')).tailnets;
  }

  /** As the organization. The child's client is in the answer and nowhere else. */
  async createTailnet(displayName: string): Promise<{ readonly id: string; readonly dnsName: string; readonly oauthClient: OAuthClient }> {
    return this.must('POST', '/organizations/-/tailnets', { displayName });
  }

  /** As the tailnet's own client. */
  async deleteTailnet(): Promise<void> {
    await this.must('DELETE', '/tailnet/-');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.close();
  }

  async #newToken(): Promise<string> {
    const answer = await request(`${this.url}/api/v2/oauth/token`, {
      dispatcher: this.#agent,
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ grant_type: 'client_credentials', client_id: this.client.id, client_secret: this.client.secret }).toString(),
    });
    const body = (await answer.body.json()) as { access_token?: string };
    if (body.access_token === undefined) throw new Error(`the control server refused the client ${this.client.id}: ${answer.statusCode}`);
    return body.access_token;
  }
}

/** One fault of the control server: what goes wrong with the next `count` API calls that fit. @see modules/control/faults.go */
export interface Fault {
  readonly method?: string;
  /** How the path after `/api/v2` begins. */
  readonly path?: string;
  readonly status?: number;
  readonly hang?: boolean;
  readonly reset?: boolean;
  /** @default 1 */
  readonly count?: number;
}

/** Makes API calls go wrong until disposed, whoever makes them. */
export async function plantFault(fault: Fault, url = 'http://10.244.0.1:9911'): Promise<AsyncDisposable> {
  const { statusCode, body } = await request(`${url}/lab/faults`, { method: 'POST', body: JSON.stringify(fault) });
  await body.dump();
  if (statusCode !== 200) throw new Error(`the fault was refused: ${statusCode}`);
  return {
    async [Symbol.asyncDispose]() {
      await (await request(`${url}/lab/faults`, { method: 'DELETE' })).body.dump();
    },
  };
}

/** Ends a machine's connection to its control plane, and refuses it any other, until disposed. @see modules/control/links.go */
export async function cutControl(nodeId: string, url = 'http://10.244.0.1:9911'): Promise<AsyncDisposable> {
  const links = async (method: 'POST' | 'DELETE', body?: object): Promise<void> => {
    const answer = await request(`${url}/lab/unlinked`, { method, ...(body ? { body: JSON.stringify(body) } : {}) });
    await answer.body.dump();
    if (answer.statusCode !== 200) throw new Error(`the cut was refused: ${answer.statusCode}`);
  };
  await links('POST', { nodeId });
  return { [Symbol.asyncDispose]: () => links('DELETE') };
}
