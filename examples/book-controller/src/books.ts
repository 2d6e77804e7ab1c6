import { ApiException, AppsV1Api, CoreV1Api, CustomObjectsApi, KubeConfig, type KubernetesListObject, makeInformer } from '@kubernetes/client-node';
import { type Book, type BookStatus, idOf } from './book.ts';

const GROUP = { group: 'platform.example.dev', version: 'v1alpha1', plural: 'books' } as const;
const PATH = `/apis/${GROUP.group}/${GROUP.version}/${GROUP.plural}`;
const DEPLOYMENTS = '/apis/apps/v1/deployments';
/** Keeps a deleted Book until what was made for it is gone. */
export const FINALIZER = `${GROUP.group}/network`;

/**
 * The Books of this cluster. By Kubernetes' own client, as in any controller: the SDK's connection knows Bifrost's requests only. Writes replace what
 * was read: the API server refuses them when somebody else was quicker, and the next round reads again.
 */
export class Books {
  readonly #config = new KubeConfig();
  readonly #objects: CustomObjectsApi;
  readonly #core: CoreV1Api;
  readonly #apps: AppsV1Api;

  constructor() {
    this.#config.loadFromDefault();
    this.#objects = this.#config.makeApiClient(CustomObjectsApi);
    this.#core = this.#config.makeApiClient(CoreV1Api);
    this.#apps = this.#config.makeApiClient(AppsV1Api);
  }

  async get(id: string): Promise<Book | undefined> {
    const [namespace = '', name = ''] = id.split('/');
    try {
      return await this.#objects.getNamespacedCustomObject({ ...GROUP, namespace, name });
    } catch (error) {
      if (error instanceof ApiException && error.code === 404) return undefined;
      throw error;
    }
  }

  async list(): Promise<readonly Book[]> {
    return (await this.#list()).items;
  }

  /** Whose namespace it is. The label is the platform's to write (examples/deploy/customer-label.yaml); a Book cannot claim another customer. */
  async customerOf({ metadata: { namespace } }: Book): Promise<string | undefined> {
    const { metadata } = await this.#core.readNamespace({ name: namespace });
    return metadata?.labels?.['bifrost.dev/customer-id'];
  }

  /** The Book with these finalizers. */
  async withFinalizers(book: Book, finalizers: readonly string[]): Promise<Book> {
    const { namespace, name } = book.metadata;
    const body = { ...book, metadata: { ...book.metadata, finalizers } };
    return await this.#objects.replaceNamespacedCustomObject({ ...GROUP, namespace, name, body });
  }

  async writeStatus(book: Book, status: BookStatus): Promise<void> {
    const { namespace, name } = book.metadata;
    await this.#objects.replaceNamespacedCustomObjectStatus({ ...GROUP, namespace, name, body: { ...book, status } });
  }

  /**
   * Tells the id of each Book that is there, then of each that changes or whose Deployment comes, changes or goes, until a watch breaks: then it rejects,
   * and whoever calls begins anew.
   */
  async follow(changed: (id: string) => void, signal: AbortSignal): Promise<void> {
    const books = makeInformer<Book>(this.#config, PATH, () => this.#list());
    const deployments = makeInformer(this.#config, DEPLOYMENTS, () => this.#apps.listDeploymentForAllNamespaces());
    const { promise: broken, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort);
    books.on('change', (book) => changed(idOf(book)));
    deployments.on('change', ({ metadata }) => {
      const book = books.get(metadata?.name ?? '', metadata?.namespace); // one that is not known yet is told when it comes
      if (book !== undefined) changed(idOf(book));
    });
    for (const informer of [books, deployments]) informer.on('error', reject); // it stops then, and says nothing more
    const starting = [books.start(), deployments.start()];
    try {
      await Promise.all([...starting, broken]);
    } finally {
      signal.removeEventListener('abort', onAbort);
      await Promise.allSettled(starting); // one that is stopped while it lists would open its watch all the same
      await Promise.all([books.stop(), deployments.stop()]);
    }
  }

  async #list(): Promise<KubernetesListObject<Book>> {
    return await this.#objects.listClusterCustomObject(GROUP);
  }
}
