import { isDeepStrictEqual } from 'node:util';
import { BifrostError, type Logger, type NetworkManager, type Sidecar, type StatusReason } from '@bifrost/sdk';
import { type Book, idOf, isDeleted } from './book.ts';
import { type Books, FINALIZER } from './books.ts';
import { connect, sidecarOf } from './network.ts';
import { Queue } from './queue.ts';
import { type Look, reasonOf, statusOf } from './status.ts';

/** Whatever hint was lost, a Book is looked at this often; while it is on its way somewhere, more often. */
const WELL_MS = 60_000;
const ON_ITS_WAY_MS = 5_000;
/** An event may come before Bifrost has stored what it tells: for a while after one a look may be too early. */
const NEWS_MS = 10_000;
const AFTER_NEWS_MS = 1_000;
const WATCH = 'watch';

interface Call {
  readonly signal: AbortSignal;
}

/** Brings each Book into its customer's network, says in its status how it stands, and takes it out again. One per cluster. */
export class Controller implements AsyncDisposable {
  readonly #books: Books;
  readonly #manager: NetworkManager;
  readonly #queue: Queue;
  readonly #newsAtMs = new Map<string, number>();

  constructor({ books, manager, logger }: { readonly books: Books; readonly manager: NetworkManager; readonly logger: Logger }) {
    this.#books = books;
    this.#manager = manager;
    // Watching is a key like any other: when it breaks, it is begun again with the same patience.
    this.#queue = new Queue((key, call) => (key === WATCH ? this.#follow(call) : this.#round(key, call)), logger);
  }

  start(): void {
    this.#queue.add(WATCH);
  }

  /** Something has happened to this Book's sidecar. */
  heard(id: string): void {
    this.#newsAtMs.set(id, performance.now());
    this.#queue.add(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue[Symbol.asyncDispose]();
  }

  async #follow({ signal }: Call): Promise<undefined> {
    await this.#books.follow((id) => this.#queue.add(id), signal);
  }

  /** Reads both sides, does what lacks, tells how it stands: the same whatever the hint was. */
  async #round(id: string, call: Call): Promise<number | undefined> {
    const book = await this.#books.get(id);
    if (book === undefined) return void this.#newsAtMs.delete(id);
    const finalizers = book.metadata.finalizers ?? [];
    if (isDeleted(book)) {
      if (!finalizers.includes(FINALIZER)) return undefined;
      if (!(await this.#release(book, call))) return AFTER_NEWS_MS;
      await this.#books.withFinalizers(
        book,
        finalizers.filter((name) => name !== FINALIZER),
      );
      return undefined;
    }
    // Before anything is made for it outside.
    const held = finalizers.includes(FINALIZER) ? book : await this.#books.withFinalizers(book, [...finalizers, FINALIZER]);
    const look = await this.#establish(held, call);
    await this.#tell(held, look);
    if (performance.now() - (this.#newsAtMs.get(id) ?? Number.NEGATIVE_INFINITY) < NEWS_MS) return AFTER_NEWS_MS;
    // Its Deployment is watched: nothing is asked meanwhile.
    const rests = look.sidecar?.status === 'connected' || look.reason?.code === 'WORKLOAD_NOT_FOUND';
    return rests ? WELL_MS : ON_ITS_WAY_MS;
  }

  async #establish(book: Book, call: Call): Promise<Look> {
    const customerId = await this.#books.customerOf(book);
    if (customerId === undefined) return { reason: { code: 'CUSTOMER_UNKNOWN', message: 'The namespace has no label bifrost.dev/customer-id.' } };
    try {
      const sidecar = await this.#attached(book, customerId, call);
      return { customerId, sidecar, reason: await this.#waitsFor(sidecar, call) };
    } catch (error) {
      // What will not pass by itself is told; what will, the queue tries again.
      if (!BifrostError.is(error) || error.retry === 'backoff') throw error;
      return { customerId, reason: reasonOf(error) };
    }
  }

  async #attached(book: Book, customerId: string, call: Call): Promise<Sidecar | undefined> {
    const id = idOf(book);
    const sidecar = await sidecarOf(this.#manager, id);
    if (sidecar === undefined) {
      await connect(this.#manager, { id, customerId, spec: book.spec });
      return await sidecarOf(this.#manager, id);
    }
    // Once for each change: what did not work and was rolled back is not tried again until the Book changes.
    if (book.status?.observedGeneration === book.metadata.generation) return sidecar;
    const { acceptRoutes, advertiseRoutes } = book.spec;
    const change = { sidecarId: sidecar.sidecarId, config: { acceptRoutes, advertiseRoutes }, allowRollout: true };
    return await this.#manager.updateSidecar(change, call);
  }

  /** A sidecar waits for its tailnet, and the tailnet knows why. */
  async #waitsFor(sidecar: Sidecar | undefined, call: Call): Promise<StatusReason | undefined> {
    return sidecar?.status === 'attaching' ? (await this.#manager.getTailnet(sidecar.tailnetName, call)).reason : undefined;
  }

  /** True once nothing of Bifrost's is left for this Book. */
  async #release(book: Book, call: Call): Promise<boolean> {
    const sidecar = await sidecarOf(this.#manager, idOf(book));
    if (sidecar !== undefined) {
      await this.#tell(book, { customerId: book.status?.customerId, sidecar });
      if (sidecar.status !== 'detaching') await this.#manager.detachSidecar(sidecar.sidecarId, call);
      return false;
    }
    const customerId = book.status?.customerId ?? (await this.#books.customerOf(book));
    const others = (await this.#books.list()).filter((other) => !isDeleted(other) && other.status?.customerId === customerId);
    return customerId === undefined || others.length > 0 || (await this.#removeTailnet(customerId, call));
  }

  /** The customer's last Book takes the tailnet along. True once it is gone, or somebody else uses it. */
  async #removeTailnet(tailnetName: string, call: Call): Promise<boolean> {
    try {
      const { status } = await this.#manager.getTailnet(tailnetName, call);
      if (status !== 'deleting') await this.#manager.deleteTailnet(tailnetName, call);
      return false;
    } catch (error) {
      if (BifrostError.is(error) && (error.code === 'TAILNET_NOT_FOUND' || error.code === 'TAILNET_IN_USE')) return true;
      throw error;
    }
  }

  async #tell(book: Book, look: Look): Promise<void> {
    const status = statusOf(book, look, new Date());
    if (!isDeepStrictEqual(status, book.status)) await this.#books.writeStatus(book, status);
  }
}
