import { expect } from 'vitest';
import { digests } from './command.ts';
import { type ContainerAddress, requestFromBook } from './containers.ts';
import { ControlClient, type OAuthClient } from './control.ts';
import { type Customer, createTailnetByHand, type GatewayInput } from './customer.ts';
import { eventually } from './eventually.ts';
import type { KubernetesObject, Named, PodObject } from './kubernetes.ts';
import { type BookInput, book, namespace } from './manifests.ts';
import { type ApiAnswer, bringCustomer, Platform, putCredential, putSecret } from './platform.ts';

/** What `POST /tailnets` takes, as far as tests vary it. */
export interface TailnetWish {
  readonly customer_id: string;
  readonly tailnet_name: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly tenancy?: 'customer-owned' | 'organization' | 'shared';
  readonly manage_policy?: boolean;
}
type Body = ApiAnswer['body'];

/** Attach requests of books that use their customer's routes. */
export const sidecarWish = (bookDeploymentId: string, tailnetName: string, config: Readonly<Record<string, unknown>> = {}) => ({
  book_deployment_id: bookDeploymentId,
  tailnet_name: tailnetName,
  config: { hostname: bookDeploymentId.split('/').at(-1), accept_routes: true, ...config },
});
export const tailnetWish = (wish: TailnetWish) => ({ config: { allowed_networks: ['10.0.0.0/8'] }, ...wish });

/** One test file's customers, namespaces, books and tailnets. Disposing takes all of them away and waits until they are gone. */
export class Stage implements AsyncDisposable {
  readonly platform = new Platform();
  readonly kubernetes = this.platform.kubernetes;
  readonly #spaces = new Set<string>();
  readonly #tailnets = new Set<string>();
  readonly #credentials = new Set<string>();
  readonly #leaving = new AsyncDisposableStack();
  #image = '';

  async open(): Promise<void> {
    this.#image = (await digests())['book'] ?? '';
    await this.platform.open(this.#image);
  }

  /** The book's image, pinned. */
  get image(): string {
    return this.#image;
  }

  /** A customer with a tailnet, a router and a page of their own (tenancy `customer-owned`). */
  async customer(input: GatewayInput): Promise<Customer> {
    this.#credentials.add(input.name);
    const joined = await bringCustomer(this.kubernetes, { customerId: input.name, ...input });
    this.#leaving.use(joined);
    this.#leaving.defer(() => joined.control.deleteTailnet());
    return joined;
  }

  /** A customer with a tailnet of their own and nothing in it. */
  async bareCustomer(customerId: string): Promise<ControlClient> {
    const client = await createTailnetByHand(customerId);
    this.#credentials.add(customerId);
    await putCredential(this.kubernetes, customerId, client);
    const control = this.#leaving.use(new ControlClient(client));
    this.#leaving.defer(() => control.deleteTailnet());
    await control.setPolicy({ tagOwners: { 'tag:bifrost-book': [] }, grants: [] });
    return control;
  }

  /** A tailnet of the platform's that customers share, and its client where the manager looks for it. It has no rules of its own. */
  async shared(): Promise<{ readonly client: OAuthClient; readonly control: ControlClient }> {
    const client = await createTailnetByHand('shared');
    const metadata = { name: 'bifrost-shared', namespace: 'bifrost' };
    await putSecret(this.kubernetes, metadata, client);
    this.#leaving.defer(() => this.kubernetes.delete({ apiVersion: 'v1', kind: 'Secret', metadata }));
    const control = this.#leaving.use(new ControlClient(client));
    this.#leaving.defer(() => control.deleteTailnet());
    await control.setPolicy({ tagOwners: { 'tag:ops': [] }, grants: [] });
    return { client, control };
  }

  /** Disposed with the stage, in the reverse order of their coming. */
  use<T extends AsyncDisposable>(resource: T): T {
    return this.#leaving.use(resource);
  }

  /** A namespace of that customer. */
  async space(name: string, customerId: string, labels: Readonly<Record<string, string>> = {}): Promise<void> {
    this.#spaces.add(name);
    await this.kubernetes.apply(namespace(name, customerId, labels));
  }

  /** A workload; `change` may put into its spec what {@link book} has no word for. */
  async book(input: Omit<BookInput, 'image'>, change: (spec: Body) => Body = (spec) => spec): Promise<Named> {
    const object = book({ image: this.#image, ...input });
    const { apiVersion, kind, metadata } = await this.kubernetes.apply({ ...object, spec: change(object['spec']) });
    return { apiVersion, kind, metadata: { name: metadata.name, namespace: input.namespace } };
  }

  async specOf(workload: Named): Promise<string> {
    return JSON.stringify((await this.kubernetes.get<KubernetesObject>(workload))?.['spec']);
  }

  /** Asks for a tailnet; it is taken away at the end whatever the answer was. */
  async createTailnet(wish: TailnetWish): Promise<ApiAnswer> {
    this.#tailnets.add(wish.tailnet_name);
    return this.platform.call('POST', '/tailnets', tailnetWish(wish));
  }

  /** Creates a tailnet and waits until it is active. */
  async tailnet(wish: TailnetWish): Promise<Body> {
    const { status, body } = await this.createTailnet(wish);
    expect({ status, body }).toMatchObject({ status: 201 });
    await this.platform.tailnetReaches(wish.tailnet_name, 'active');
    return body;
  }

  /** Attaches and answers with the sidecar's id. */
  async attach(...wish: Parameters<typeof sidecarWish>): Promise<string> {
    const answer = await this.platform.call('POST', '/sidecars', sidecarWish(...wish));
    expect(answer).toMatchObject({ status: 201, body: { status: 'attaching' } });
    return answer.body.sidecar_id;
  }

  /** Pods of the book that are ready, exactly so many, none other beside them. */
  pods(space: string, app: string, count = 1): Promise<readonly PodObject[]> {
    return this.kubernetes.readyPods(space, `app=${app}`, { count, timeoutMs: 120_000 });
  }

  /** The book's only pod, once it is ready. */
  async pod(space: string, app: string): Promise<PodObject> {
    const [pod] = await this.pods(space, app);
    if (!pod) throw new Error(`${app} has no pod`);
    return pod;
  }

  async inBook(space: string, app: string, container = 'book'): Promise<ContainerAddress> {
    return { namespace: space, pod: (await this.pod(space, app)).metadata.name, container };
  }

  /** Waits until the book gets this page. */
  async reaches(address: ContainerAddress, { pageUrl, page }: Pick<Customer, 'pageUrl' | 'page'>): Promise<void> {
    await eventually(`${address.pod} gets "${page}"`, async () => (await requestFromBook(address, { url: pageUrl })).body === page);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { kubernetes, platform } = this;
    const spaces = [...this.#spaces].map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }));
    await Promise.all(spaces.map((space) => kubernetes.deleteAndWait(space, { timeoutMs: 120_000 })));
    for (const name of this.#tailnets) await platform.call('DELETE', `/tailnets/${name}?cascade=true`);
    for (const name of this.#tailnets) await platform.tailnetReaches(name, 'gone');
    await this.#leaving.disposeAsync();
    const secrets = [...this.#credentials].map((name) => ({ name: `bifrost-customer-${name}`, namespace: 'bifrost' }));
    for (const metadata of secrets) await kubernetes.delete({ apiVersion: 'v1', kind: 'Secret', metadata });
    await platform[Symbol.asyncDispose]();
  }
}
