import { BifrostError } from '@bifrost/types/core';
import { systemClock } from '../adapters/system/clock.ts';
import type { AuditedRequest } from '../ports/index.ts';
import { reconcileWorkload } from './annotated-workloads.ts';
import { Announcer } from './announcer.ts';
import { ConnectivityHistory } from './connectivity-history.ts';
import { requireConsents } from './consents.ts';
import type { Call, Context } from './context.ts';
import type { Change } from './etags.ts';
import { EventBus } from './event-bus.ts';
import { refuseFor, requireObject } from './given.ts';
import { GuardOrders } from './guard-orders.ts';
import { Hindrances } from './hindrances.ts';
import { Hints } from './hints.ts';
import { Instances } from './instances.ts';
import { KeyedLock } from './keyed-lock.ts';
import { KnownRelays } from './known-relays.ts';
import { resync, runLoops } from './loops.ts';
import { Missing } from './missing.ts';
import { Observed } from './observed.ts';
import { type NetworkManagerOptions, resolveSettings } from './options.ts';
import { Outdated } from './outdated.ts';
import { Policies } from './policies.ts';
import { ProofDue } from './proof-due.ts';
import { ToldFindings } from './prove-calls.ts';
import type { CallerScope } from './scope.ts';
import { reconcileSidecar } from './sidecar-reconcile.ts';
import { silentLogger, unrecorded } from './silent.ts';
import { reconcileTailnet } from './tailnet-reconcile.ts';
import { describeError } from './unexpected.ts';
import { type Outcome, WorkQueue } from './work-queue.ts';

/**
 * Options of every call: `signal` ends the waiting (the call then rejects with `signal.reason` itself); `actor` and `request` go into the audit record.
 * `scope`: whose objects the caller may see and work with; unset: everybody's.
 */
export interface CallerOptions {
  readonly signal?: AbortSignal;
  readonly actor?: string;
  readonly request?: AuditedRequest;
  readonly scope?: CallerScope;
}

/**
 * Options of calls that change what is there. `ifMatch`: the `etag` that the caller has read; when what is wanted is another by the moment of writing, the
 * call answers `ETAG_MISMATCH`, and nothing is written.
 */
export interface ChangeOptions extends CallerOptions {
  readonly ifMatch?: string;
}

/** Kind and name of a key of a queue. */
function placeOf(key: string): { readonly kind: string; readonly name: string } {
  const kind = key.slice(0, key.indexOf(':'));
  return { kind, name: key.slice(kind.length + 1) };
}

/** Whose work a key is: of a workload the customer of its attachment; without one its namespace's, since what it asks for may be a stranger's. */
function customerOf({ announcer }: Context, key: string): string | undefined {
  const { kind, name } = placeOf(key);
  if (kind === 'tailnet') return announcer.customerOf('tailnet', name);
  // No customer is called so: names of customers have no slash.
  return announcer.customerOf('sidecar', name) ?? (kind === 'workload' ? `namespace/${name.slice(0, name.indexOf('/'))}` : undefined);
}

/** The life of a manager: what it is made of, its start, its loops, its end. The calls are {@link NetworkManager}'s. */
export abstract class ManagerCore implements AsyncDisposable {
  /** For the calls of the class that extends this one. */
  protected readonly context: Context;
  readonly #queue: WorkQueue;
  readonly #hints: Hints;
  readonly #stopping = new AbortController();
  #running = false;
  #readOnly: boolean;
  #loops: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: NetworkManagerOptions) {
    const settings = resolveSettings(options);
    const clock = options.clock ?? systemClock();
    const logger = options.logger ?? silentLogger;
    const proofDue = new ProofDue();
    const events = new EventBus((name, error) => logger.log('error', 'a listener threw', { name, error: describeError(error) }));
    this.#readOnly = settings.readOnly;
    this.context = {
      settings,
      cluster: options.cluster,
      store: options.store,
      controlPlane: options.controlPlane,
      audit: options.audit ?? unrecorded,
      logger,
      clock,
      events,
      history: new ConnectivityHistory({ events, retained: settings.retainedEvents }),
      announcer: new Announcer(events, clock),
      observed: new Observed(),
      instances: new Instances(),
      guardOrders: new GuardOrders({ logger, proofDue }),
      unstored: new Map(),
      policies: new Policies(),
      driftedPolicies: new Map(),
      toldFindings: new ToldFindings(),
      proofDue,
      attaching: new KeyedLock(),
      hindrances: new Hindrances(),
      missing: new Missing(clock),
      relays: new KnownRelays(options.controlPlane, clock),
      outdated: new Outdated(clock),
      hearing: { sinceMs: clock.nowMs(), pausedAtMs: new Map() },
      // Before the start nothing runs; the watches then give every key.
      touch: (kind, key) => this.#running && this.#queue.add(`${kind}:${key}`),
      urge: (kind, key) => this.#running && this.#queue.urge(`${kind}:${key}`),
      hint: (kind, key, look) => this.#hints.add(`${kind}:${key}`, look),
      interrupt: (kind, key) => this.#queue.interrupt(`${kind}:${key}`),
      readOnly: () => this.#readOnly,
    };
    const shared = {
      clock,
      logger,
      concurrency: settings.concurrency,
      baseMs: 500,
      maxMs: 60_000,
      groupOf: (key: string) => customerOf(this.context, key),
    };
    this.#queue = new WorkQueue({ ...shared, work: (key, call) => this.#work(key, call) });
    this.#hints = new Hints({ ...shared, isWorking: (key) => this.#isWorking(key) });
  }

  #work(key: string, call: Call): Promise<Outcome> {
    const { kind, name } = placeOf(key);
    if (kind === 'tailnet') return reconcileTailnet(this.context, name, call);
    return kind === 'workload' ? reconcileWorkload(this.context, name, call) : reconcileSidecar(this.context, name, call);
  }

  /** Only a tailnet's round has to learn at once of what others write: it may have been paused. */
  #isWorking(key: string): boolean {
    const { kind, name } = placeOf(key);
    return kind !== 'tailnet' && this.#queue.isRunning(`sidecar:${name}`);
  }

  /** Opens the cluster's watches and starts the loops. A second call is refused. Cancel: rejects with the reason; the manager is then stopped. */
  async start(options: CallerOptions = {}): Promise<void> {
    const { signal } = this.call(options);
    if (this.#loops !== undefined) throw new BifrostError({ code: 'INVALID_OPTIONS', message: 'The manager has been started already.' });
    this.#loops = Promise.resolve();
    const call = { signal };
    try {
      await this.context.cluster.start(call);
      await this.#restore(call);
      call.signal.throwIfAborted();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#running = true;
    this.context.hearing.sinceMs = this.context.clock.nowMs();
    this.#loops = runLoops(this.context, { signal: this.stopping });
  }

  /** What was known when the last manager stopped: no news, but silence counts from now. */
  async #restore(call: Call): Promise<void> {
    const { store, cluster, announcer, observed, instances, guardOrders, clock } = this.context;
    const [tailnets, sidecars] = [await store.tailnets.list(call), await store.sidecars.list(call)];
    announcer.prime({ tailnets, sidecars });
    for (const tailnet of tailnets) guardOrders.saw(tailnet.key, tailnet);
    for (const sidecar of sidecars) {
      observed.sawSidecar(sidecar.key, sidecar);
      for (const { podUid, podName } of sidecar.state.instances) instances.ensure(sidecar, { uid: podUid, name: podName }, clock.nowMs());
    }
    for (const pod of await cluster.pods.list(call)) observed.sawPod(pod.uid, pod);
    observed.complete = true;
  }

  /**
   * Read-only mode: the manager watches, takes reports and tells events, but writes nothing, neither outside nor in the store; calls that would change
   * something answer `MANAGER_READ_ONLY`. A round that is under way is interrupted: what it has already sent may still arrive. Switched off, everything is looked at again at once.
   */
  setReadOnly(readOnly: boolean): void {
    this.open();
    requireConsents({ readOnly });
    this.#readOnly = readOnly;
    if (readOnly) this.#queue.interruptAll();
    if (readOnly || !this.#running) return;
    this.context.hearing.sinceMs = this.context.clock.nowMs();
    resync(this.context, { signal: this.stopping }).catch((error: unknown) => {
      if (!this.stopping.aborted) this.context.logger.log('warn', 'a round failed', { error: describeError(error) });
    });
  }

  get readOnly(): boolean {
    return this.#readOnly;
  }

  /** Stops the loops and closes the adapters. What is attached stays attached. Safe to call twice, and before `start`. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopOnce();
    return this.#stopped;
  }

  /** The same as `stop()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #stopOnce(): Promise<void> {
    const reason = new BifrostError({ code: 'MANAGER_STOPPED', message: 'The manager was stopped.' });
    this.#stopping.abort(reason);
    await Promise.all([this.#hints, this.#queue].map((queue) => queue.stop(reason)));
    await this.#loops;
    const { cluster, store, controlPlane, logger } = this.context;
    const closed = await Promise.allSettled([cluster, store, controlPlane].map(async (adapter) => adapter[Symbol.asyncDispose]()));
    for (const result of closed) {
      if (result.status === 'rejected') logger.log('error', 'an adapter did not close', { error: describeError(result.reason) });
    }
  }

  /** @throws {BifrostError} `MANAGER_STOPPED` */
  protected open(): void {
    if (this.#stopped !== undefined) throw new BifrostError({ code: 'MANAGER_STOPPED', message: 'The manager was stopped: make a new one.' });
  }

  protected get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** A signal for one call: the caller's, and the manager's own end. */
  protected call(options: ChangeOptions = {}): Change {
    this.open();
    const { stopping } = this;
    const { signal, actor, ifMatch, request, scope } = requireObject(options, 'options');
    if (signal !== undefined && !(signal instanceof AbortSignal)) refuseFor([{ path: 'options.signal', message: 'must be an AbortSignal' }]);
    const given = {
      ...(actor === undefined ? {} : { actor }),
      ...(ifMatch === undefined ? {} : { ifMatch }),
      ...(request === undefined ? {} : { request }),
      ...(scope === undefined ? {} : { scope }),
    };
    return { signal: signal ? AbortSignal.any([signal, stopping]) : stopping, about: {}, ...given };
  }
}
