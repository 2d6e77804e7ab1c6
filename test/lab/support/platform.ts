import { Agent, request } from 'undici';
import { lab } from './command.ts';
import { ControlClient, type OAuthClient } from './control.ts';
import { type Customer, createTailnetByHand, type GatewayInput, joinGateway } from './customer.ts';
import { eventually } from './eventually.ts';
import { Kubernetes, type PodObject } from './kubernetes.ts';
import { namespace } from './manifests.ts';

/** One answer of the Network Manager's own door, as it came over the wire. */
export interface ApiAnswer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests read wire documents of many shapes
  readonly body: any;
}

/** One event of the stream, as on the wire. */
export interface WireEvent {
  readonly tailnet_name: string;
  readonly event_type: string;
  readonly timestamp: string;
  readonly details: Readonly<Record<string, string>>;
}

interface Detail {
  readonly reason?: string;
  readonly field_violations?: readonly { readonly field: string; readonly description: string }[];
  readonly links?: readonly { readonly url: string }[];
}

/** What tests look at: of a refusal its code, sentence and fields; of an answer that is one object, that object. */
function shortly(body: ApiAnswer['body']): unknown {
  if (Array.isArray(body?.details) && typeof body.code === 'number') {
    const details: readonly Detail[] = body.details;
    const issues = details
      .flatMap(({ field_violations = [] }) => field_violations)
      .map(({ field, description }) => ({ path: field, message: description }));
    const { reason } = details.find((detail) => detail.reason !== undefined) ?? {};
    return { code: reason, message: body.message, issues, runbook: details.flatMap(({ links = [] }) => links)[0]?.url };
  }
  const [name, ...more] = Object.keys(body);
  return more.length === 0 && name !== undefined && ['tailnet', 'sidecar', 'plan', 'upgrade'].includes(name) ? body[name] : body;
}

const CALLER = { namespace: 'platform', name: 'book-controller' } as const;

/** The platform: the Network Manager as a pod, and a book controller's identity to call it with. Only processes, sockets and the public API. */
export class Platform implements AsyncDisposable {
  readonly kubernetes = new Kubernetes();
  #agent: Agent | undefined;
  #token = '';

  /** Starts the manager (or finds it running) and the caller's pod. */
  async open(bookImage: string): Promise<void> {
    await this.kubernetes.apply(namespace(CALLER.namespace, 'the-platform'));
    await this.kubernetes.apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: CALLER });
    const pod = { name: 'book-controller', image: bookImage, env: [{ name: 'BOOK_ADDRESSES', value: ':8080' }] };
    const podObject = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...CALLER, labels: { app: CALLER.name } },
      spec: { serviceAccountName: CALLER.name, containers: [pod] },
    };
    await this.kubernetes.apply(podObject);
    await lab(['manager', 'HEARTBEAT_MS=1000'], { timeoutMs: 120_000 });
    const [caller] = await this.kubernetes.readyPods(CALLER.namespace, `app=${CALLER.name}`);
    this.#token = await this.kubernetes.serviceAccountToken(CALLER, 'bifrost', caller);
    const secret = await this.kubernetes.get<{ data: Record<string, string> }>({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'bifrost-tls', namespace: 'bifrost' },
    });
    const ca = Buffer.from(secret?.data['ca.crt'] ?? '', 'base64').toString('utf8');
    this.#agent = new Agent({ connect: { ca, servername: 'bifrost.bifrost.svc' } });
    await this.answers();
  }

  /** Waits until the manager answers: its Service leads to a new pod a moment after that is ready. */
  async answers(): Promise<void> {
    await eventually('a manager answers', async () => (await this.call('GET', '/info')).status === 200);
  }

  /** Where the manager's Service is. */
  async address(): Promise<string> {
    const service = await this.kubernetes.get<{ spec: { clusterIP: string } }>({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'bifrost', namespace: 'bifrost' },
    } as never);
    if (service === undefined) throw new Error('the manager has no Service');
    return service.spec.clusterIP;
  }

  #options(method: string) {
    if (this.#agent === undefined) throw new Error('open() first');
    return {
      dispatcher: this.#agent,
      method: method as 'GET',
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
    };
  }

  async call(method: string, path: string, body?: unknown): Promise<ApiAnswer> {
    const url = `https://${await this.address()}:8444/api/v1/networks${path}`;
    const answer = await request(url, { ...this.#options(method), ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const text = await answer.body.text();
    return { status: answer.statusCode, body: text === '' ? undefined : shortly(JSON.parse(text)) };
  }

  /** By the Envoy in the manager's pod, as a caller outside of the platform: with a token of the lab's issuer, or other headers. */
  async throughEnvoy(
    method: string,
    path: string,
    { body, headers }: { readonly body?: unknown; readonly headers: Readonly<Record<string, string>> },
  ) {
    const { dispatcher } = this.#options(method);
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const json = { 'content-type': 'application/json', ...headers };
    const answer = await request(`https://${await this.address()}:8080${path}`, { dispatcher, method: method as 'GET', headers: json, ...sent });
    const text = await answer.body.text();
    return { status: answer.statusCode, body: text === '' ? undefined : JSON.parse(text), headers: answer.headers };
  }

  async must(method: string, path: string, body?: unknown): Promise<ApiAnswer['body']> {
    const answer = await this.call(method, path, body);
    if (answer.status > 299) throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** Calls until the loop does not write the same object at the same time: a race answers STORE_CONFLICT, and the same call again finds its way. */
  async taken(method: string, path: string, body?: unknown): Promise<void> {
    const { status, body: answer } = await eventually(`${method} ${path} is taken`, async () => {
      const told = await this.call(method, path, body);
      return told.body?.code !== 'STORE_CONFLICT' && told;
    });
    if (status > 299) throw new Error(`${method} ${path} answered ${status}: ${JSON.stringify(answer)}`);
  }

  /** One report to the ingest port, with the given token or none: what an agent, or somebody who stole a token, can send. */
  async report(token: string | undefined, document: unknown): Promise<ApiAnswer> {
    const { dispatcher } = this.#options('POST');
    const answer = await request(`https://${await this.address()}:8443/v1/reports`, {
      dispatcher,
      method: 'POST',
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      body: JSON.stringify(document),
    });
    return { status: answer.statusCode, body: JSON.parse(await answer.body.text()) };
  }

  /** Follows the event stream until disposed. */
  async follow(): Promise<EventLog> {
    const answer = await request(`https://${await this.address()}:8444/api/v1/networks/events`, this.#options('GET'));
    if (answer.statusCode !== 200) throw new Error(`the event stream answered ${answer.statusCode}`);
    return new EventLog(answer.body);
  }

  async sidecar(sidecarId: string): Promise<ApiAnswer['body']> {
    return (await this.must('GET', '/sidecars')).sidecars.find((sidecar: { sidecar_id: string }) => sidecar.sidecar_id === sidecarId);
  }

  async sidecarReaches(sidecarId: string, status: string, timeoutMs = 60_000): Promise<ApiAnswer['body']> {
    return eventually(
      `sidecar ${sidecarId} is ${status}`,
      async () => {
        const sidecar = await this.sidecar(sidecarId);
        return (sidecar?.status ?? 'gone') === status ? (sidecar ?? true) : undefined;
      },
      { timeoutMs },
    );
  }

  async tailnetReaches(tailnetName: string, status: string, timeoutMs = 75_000): Promise<void> {
    await eventually(
      `tailnet ${tailnetName} is ${status}`,
      async () => {
        const { status: http, body } = await this.call('GET', `/tailnets/${tailnetName}`);
        return (http === 404 ? 'gone' : body.status) === status;
      },
      { timeoutMs },
    );
  }

  managerPods(): Promise<readonly PodObject[]> {
    return this.kubernetes.pods('bifrost', 'app.kubernetes.io/component=network-manager');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent?.destroy();
    await this.kubernetes[Symbol.asyncDispose]();
  }
}

/** Lines of the event stream, kept as they come. */
export class EventLog implements Disposable {
  readonly events: WireEvent[] = [];
  readonly #seenAtMs = new WeakMap<WireEvent, number>();
  readonly #body: NodeJS.ReadableStream & { destroy(): void };

  constructor(body: NodeJS.ReadableStream & { destroy(): void }) {
    this.#body = body;
    let rest = '';
    body.setEncoding('utf8');
    body.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const event = JSON.parse(line) as WireEvent;
        this.events.push(event);
        this.#seenAtMs.set(event, performance.now());
      }
    });
    body.on('error', () => {});
  }

  /** When it came, by `performance.now()`. */
  seenAtMs(event: WireEvent): number {
    return this.#seenAtMs.get(event) ?? Number.NaN;
  }

  /** The first event after `from` that matches. */
  next(what: string, matches: (event: WireEvent) => boolean, { from = 0, timeoutMs = 60_000 } = {}): Promise<WireEvent> {
    return eventually(`event: ${what}`, () => this.events.slice(from).find(matches), { timeoutMs });
  }

  [Symbol.dispose](): void {
    this.#body.destroy();
  }
}

/** A customer with their own tailnet, router and OAuth client; the client lies in the manager's namespace as its owner put it there. */
export async function bringCustomer(
  kubernetes: Kubernetes,
  { customerId, ...gateway }: GatewayInput & { readonly customerId: string },
): Promise<Customer> {
  const client = await createTailnetByHand(gateway.name);
  await putCredential(kubernetes, customerId, client);
  await using control = new ControlClient(client);
  // Before the first key: a key's tags have to be owned.
  await control.setPolicy({
    tagOwners: { 'tag:gateway': [], 'tag:bifrost-book': [] },
    grants: [{ src: ['tag:bifrost-book'], dst: ['10.1.0.0/24'], ip: ['tcp:8000'] }],
  });
  return joinGateway(client, { routes: ['10.0.0.0/8'], ...gateway });
}

export const putCredential = (kubernetes: Kubernetes, customerId: string, client: OAuthClient): Promise<void> =>
  putSecret(kubernetes, { name: `bifrost-customer-${customerId}`, namespace: 'bifrost' }, client);

/** A client as the manager reads it. */
export async function putSecret(kubernetes: Kubernetes, metadata: { readonly name: string; readonly namespace: string }, client: OAuthClient) {
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  const data = { client_id: encode(client.id), client_secret: encode(client.secret) };
  await kubernetes.apply({ apiVersion: 'v1', kind: 'Secret', metadata, data });
}
