import type { AttachSidecarInput, CreateTailnetInput } from '@bifrost/types';
import {
  type AttachSidecarResponse,
  BifrostError,
  type ConnectionMetric,
  type ConnectivityEvent,
  type CreateTailnetResponse,
  type Leftover,
  type ManagerEventName,
  type ManagerEvents,
  type NetworkStatus,
  type ReportAnswerV1,
  type Secret,
  type Sidecar,
  type Tailnet,
} from '@bifrost/types/core';
import { systemClock } from '../adapters/system/clock.ts';
import type { AuditSink, Logger } from '../ports/index.ts';
import { Announcer } from './announcer.ts';
import type { Context } from './context.ts';
import { EventBus } from './event-bus.ts';
import { ingestReport } from './ingest.ts';
import { Instances } from './instances.ts';
import { KeyedLock } from './keyed-lock.ts';
import { listLeftovers } from './leftovers.ts';
import { linkedSignal } from './linked-signal.ts';
import { runLoops } from './loops.ts';
import { monitorConnectivity } from './monitor.ts';
import { Observed } from './observed.ts';
import { type NetworkManagerOptions, resolveSettings } from './options.ts';
import { getConnectionMetrics, getNetworkStatus } from './reads.ts';
import { type AttachPlan, attachSidecar, detachSidecar, planAttach, sidecarView } from './sidecar-calls.ts';
import { reconcileSidecar } from './sidecar-reconcile.ts';
import { createTailnet, deleteTailnet, requireTailnet, tailnetView } from './tailnet-calls.ts';
import { reconcileTailnet } from './tailnet-reconcile.ts';
import { describeError } from './unexpected.ts';
import { type Awaited, waitFor } from './wait-for.ts';
import { WorkQueue } from './work-queue.ts';

/** Options of every call: `signal` ends the waiting (the call then rejects with `signal.reason` itself); `actor` goes into the audit record. */
export interface CallerOptions {
  readonly signal?: AbortSignal;
  readonly actor?: string;
}

const silent: Logger = { log: () => {} };
const unrecorded: AuditSink = { append: async () => {} };

/**
 * Gives each customer's books that customer's private network, and nobody else's. One per process that embeds the SDK; several side by side do not meet.
 * The constructor is inert: nothing is opened before `start()`. Disposing stops the loops, then closes the adapters.
 *
 * @example
 * await using manager = new NetworkManager({ cluster, store, controlPlane, images, ingest });
 * await manager.start();
 * @throws {BifrostError} `INVALID_OPTIONS` with one issue per wrong field
 */
export class NetworkManager implements AsyncDisposable {
  readonly #context: Context;
  readonly #queue: WorkQueue;
  readonly #stopping = new AbortController();
  #running = false;
  #loops: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: NetworkManagerOptions) {
    const settings = resolveSettings(options);
    const clock = options.clock ?? systemClock();
    const logger = options.logger ?? silent;
    const events = new EventBus((name, error) => logger.log('error', 'a listener threw', { name, error: describeError(error) }));
    this.#context = {
      settings,
      cluster: options.cluster,
      store: options.store,
      controlPlane: options.controlPlane,
      audit: options.audit ?? unrecorded,
      logger,
      clock,
      events,
      announcer: new Announcer(events, clock),
      observed: new Observed(),
      instances: new Instances(),
      unstored: new Map(),
      attaching: new KeyedLock(),
      // Before the start nothing runs; the watches then give every key.
      touch: (kind, key) => this.#running && this.#queue.add(`${kind}:${key}`),
    };
    this.#queue = new WorkQueue({
      clock,
      logger,
      concurrency: settings.concurrency,
      baseMs: 500,
      maxMs: 60_000,
      work: (key, call) =>
        key.startsWith('tailnet:')
          ? reconcileTailnet(this.#context, key.slice('tailnet:'.length), call)
          : reconcileSidecar(this.#context, key.slice('sidecar:'.length), call),
    });
  }

  /** Opens the cluster's watches and starts the loops. A second call is refused. Cancel: rejects with the reason; the manager is then stopped. */
  async start({ signal }: CallerOptions = {}): Promise<void> {
    this.#open();
    if (this.#loops !== undefined) throw new BifrostError({ code: 'INVALID_OPTIONS', message: 'The manager has been started already.' });
    this.#loops = Promise.resolve();
    const call = this.#call(signal === undefined ? {} : { signal });
    try {
      await this.#context.cluster.start(call);
      await this.#restore(call);
      call.signal.throwIfAborted();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#running = true;
    this.#loops = runLoops(this.#context, { signal: this.#stopping.signal });
  }

  /** What was known when the last manager stopped: no news, but silence counts from now. */
  async #restore(call: { readonly signal: AbortSignal }): Promise<void> {
    const { store, cluster, announcer, observed, instances, clock } = this.#context;
    const [tailnets, sidecars] = [await store.tailnets.list(call), await store.sidecars.list(call)];
    announcer.prime({ tailnets, sidecars });
    for (const sidecar of sidecars) {
      observed.sawSidecar(sidecar.key, sidecar);
      for (const { podUid, podName } of sidecar.state.instances) instances.ensure(sidecar, { uid: podUid, name: podName }, clock.nowMs());
    }
    for (const pod of await cluster.pods.list(call)) observed.sawPod(pod.uid, pod);
    observed.complete = true;
  }

  /** Stops the loops and closes the adapters. What is attached stays attached. Safe to call twice, and before `start`. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopOnce();
    return this.#stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #stopOnce(): Promise<void> {
    const reason = new BifrostError({ code: 'MANAGER_STOPPED', message: 'The manager was stopped.' });
    this.#stopping.abort(reason);
    await this.#queue.stop(reason);
    await this.#loops;
    const { cluster, store, controlPlane, logger } = this.#context;
    const closed = await Promise.allSettled([cluster, store, controlPlane].map(async (adapter) => adapter[Symbol.asyncDispose]()));
    for (const result of closed) {
      if (result.status === 'rejected') logger.log('error', 'an adapter did not close', { error: describeError(result.reason) });
    }
  }

  #open(): void {
    if (this.#stopped !== undefined) throw new BifrostError({ code: 'MANAGER_STOPPED', message: 'The manager was stopped: make a new one.' });
  }

  /** A signal for one call: the caller's, and the manager's own end. */
  #call({ signal, actor }: CallerOptions = {}): { signal: AbortSignal; actor?: string } {
    this.#open();
    const stopping = this.#stopping.signal;
    return { signal: signal ? AbortSignal.any([signal, stopping]) : stopping, ...(actor === undefined ? {} : { actor }) };
  }

  /** Which adapters this manager runs on. */
  get adapters(): { readonly cluster: string; readonly store: string; readonly controlPlane: string } {
    const { cluster, store, controlPlane } = this.#context;
    return { cluster: cluster.kind, store: store.kind, controlPlane: controlPlane.kind };
  }

  /**
   * Records that a customer wants a tailnet; the loop makes it, and `tailnet:activated` tells when it is there. The same request again answers with
   * what exists.
   *
   * @throws {BifrostError} `INVALID_ARGUMENT` with one issue per wrong field; `TAILNET_EXISTS` — the name is taken (it does not say by whom)
   */
  async createTailnet(request: CreateTailnetInput, options?: CallerOptions): Promise<CreateTailnetResponse> {
    return createTailnet(this.#context, request, this.#call(options));
  }

  /** @throws {BifrostError} `TAILNET_NOT_FOUND` */
  async getTailnet(tailnetName: string, options?: CallerOptions): Promise<Tailnet> {
    return tailnetView(await requireTailnet(this.#context, tailnetName, this.#call(options)));
  }

  /** All tailnets, by name; `customerId` narrows it to one customer's. */
  async listTailnets({ customerId, ...options }: CallerOptions & { readonly customerId?: string } = {}): Promise<readonly Tailnet[]> {
    const tailnets = await this.#context.store.tailnets.list(this.#call(options));
    return tailnets.map(tailnetView).filter((tailnet) => customerId === undefined || tailnet.customerId === customerId);
  }

  /**
   * Deletes a tailnet; `cascade` detaches its sidecars first. The loop does the rest; `waitFor({ tailnetName, status: 'gone' })` waits for it.
   *
   * @throws {BifrostError} `TAILNET_NOT_FOUND`; `TAILNET_IN_USE` — it has sidecars and `cascade` was not asked for
   */
  async deleteTailnet(tailnetName: string, { cascade = false, ...options }: CallerOptions & { readonly cascade?: boolean } = {}): Promise<void> {
    return deleteTailnet(this.#context, { tailnetName, cascade }, this.#call(options));
  }

  /**
   * Checks everything that can be known at once, then records that a workload wants a sidecar. The same request again is a no-op.
   *
   * @throws {BifrostError} `INVALID_ARGUMENT`, `TAILNET_NOT_FOUND`, `TAILNET_DELETING`, `WORKLOAD_NOT_FOUND`, `WORKLOAD_AMBIGUOUS`, `WORKLOAD_UNSUPPORTED`,
   * `CUSTOMER_MISMATCH`, `SIDECAR_EXISTS`, `HOSTNAME_TAKEN`, `FIELD_CONFLICT`, `POD_SECURITY_FORBIDDEN`, `CLUSTER_RANGES_UNKNOWN`: nothing was written
   */
  async attachSidecar(request: AttachSidecarInput, options?: CallerOptions): Promise<AttachSidecarResponse> {
    return attachSidecar(this.#context, request, this.#call(options));
  }

  /** Exactly what `attachSidecar` would apply, with the same checks and the same errors. Writes nothing. */
  async planAttach(request: AttachSidecarInput, options?: CallerOptions): Promise<AttachPlan> {
    return planAttach(this.#context, request, this.#call(options));
  }

  /** Takes a sidecar away with all that was made for it. Returns at once; `waitFor({ sidecarId, status: 'gone' })` waits for it. @throws {BifrostError} `SIDECAR_NOT_FOUND` */
  async detachSidecar(sidecarId: string, options?: CallerOptions): Promise<void> {
    return detachSidecar(this.#context, sidecarId, this.#call(options));
  }

  /** All sidecars; `tailnetName` narrows it to one tailnet's. */
  async listSidecars({ tailnetName, ...options }: CallerOptions & { readonly tailnetName?: string } = {}): Promise<readonly Sidecar[]> {
    const sidecars = await this.#context.store.sidecars.list(this.#call(options));
    return sidecars
      .filter(({ spec }) => tailnetName === undefined || spec.tailnetName === tailnetName)
      .map((sidecar) => sidecarView(this.#context, sidecar));
  }

  /** The specification's status answer. Bytes are as the books see them. @throws {BifrostError} `TAILNET_NOT_FOUND` */
  async getNetworkStatus(tailnetName: string, options?: CallerOptions): Promise<NetworkStatus> {
    return getNetworkStatus(this.#context, tailnetName, this.#call(options));
  }

  /** One metric per tailnet, or one tailnet's. @throws {BifrostError} `TAILNET_NOT_FOUND` */
  async getConnectionMetrics({
    tailnetName,
    ...options
  }: CallerOptions & { readonly tailnetName?: string } = {}): Promise<readonly ConnectionMetric[]> {
    return getConnectionMetrics(this.#context, tailnetName, this.#call(options));
  }

  /**
   * Connectivity events from now on, in order. Subscribes at the first `next()`; `break` ends it. A reader more than 1024 events behind gets
   * `STREAM_OVERFLOW`, never a silent gap. Cancel: the iteration rejects with `signal.reason` itself.
   */
  monitorConnectivity({ tailnetName, ...options }: CallerOptions & { readonly tailnetName?: string } = {}): AsyncIterable<ConnectivityEvent> {
    return monitorConnectivity(this.#context, { tailnetName, ...this.#call(options) });
  }

  /** Subscribes to one event. Events inform; a listener that throws is logged and stops nobody. Dispose to unsubscribe. */
  on<Name extends ManagerEventName>(name: Name, listener: (event: ManagerEvents[Name]) => void): Disposable {
    return this.#context.events.on(name, listener);
  }

  /**
   * Waits until a tailnet or sidecar has a status, or is `gone`. Give a `signal` with a deadline.
   *
   * @throws {BifrostError} `WAIT_FAILED` — it failed or went away instead; `details.reason` has the code
   */
  waitFor(
    awaited: Extract<Awaited, { sidecarId: string }> & { readonly status: Exclude<Awaited['status'], 'gone'> },
    options?: CallerOptions,
  ): Promise<Sidecar>;
  waitFor(
    awaited: Extract<Awaited, { tailnetName: string }> & { readonly status: Exclude<Awaited['status'], 'gone'> },
    options?: CallerOptions,
  ): Promise<Tailnet>;
  waitFor(awaited: Awaited, options?: CallerOptions): Promise<Tailnet | Sidecar | undefined>;
  async waitFor(awaited: Awaited, options?: CallerOptions): Promise<Tailnet | Sidecar | undefined> {
    return waitFor(this.#context, awaited, this.#call(options));
  }

  /** What was made outside and has no owner any more, read back from cluster and control plane now. Empty is how it should be. */
  async listLeftovers(options?: CallerOptions): Promise<readonly Leftover[]> {
    return listLeftovers(this.#context, this.#call(options));
  }

  /**
   * Takes one agent report (parsed JSON). Used by the report door of `@bifrost/sdk/server`.
   *
   * @throws {BifrostError} `REPORT_INVALID`, `REPORT_UNAUTHENTICATED`, `REPORT_FORBIDDEN`; `CLUSTER_UNAVAILABLE` when the cluster cannot vouch now
   */
  async ingestReport({ token, document, signal }: CallerOptions & { readonly token: Secret; readonly document: unknown }): Promise<ReportAnswerV1> {
    this.#open();
    const stopping = this.#stopping.signal;
    if (signal === undefined) return ingestReport(this.#context, { token, document, signal: stopping });
    using linked = linkedSignal(signal, stopping);
    return await ingestReport(this.#context, { token, document, signal: linked.signal });
  }
}
