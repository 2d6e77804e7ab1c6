import type {
  AttachSidecarInput,
  CreateTailnetInput,
  InjectSidecarInput,
  MonitorConnectivityInput,
  UpdateSidecarInput,
  UpdateTailnetInput,
  UpgradeSidecarsInput,
} from '@bifrost/types';
import type {
  AttachSidecarResponse,
  ChangePlan,
  ConnectionMetric,
  ConnectivityEvent,
  ConnectivityHeartbeat,
  CreateTailnetResponse,
  Leftover,
  Made,
  ManagerEventName,
  ManagerEvents,
  NetworkStatus,
  ReportAnswerV1,
  Secret,
  Sidecar,
  Tailnet,
  UpgradeProgress,
} from '@bifrost/types/core';
import type { WorkloadManifest } from '../domain/inject-sidecar.ts';
import { CuttingManager } from './cutting-manager.ts';
import { ingestReport, requireReport } from './ingest.ts';
import { type Injected, injectSidecar } from './inject-calls.ts';
import { listLeftovers } from './leftovers.ts';
import { linkedSignal } from './linked-signal.ts';
import type { CallerOptions, ChangeOptions } from './manager-core.ts';
import { monitorConnectivity } from './monitor.ts';
import { getConnectionMetrics, getNetworkStatus } from './reads.ts';
import { isVisible } from './scope.ts';
import { type AttachPlan, attachSidecar, detachSidecar, planAttach, requireSidecar } from './sidecar-calls.ts';
import { planUpdateSidecar, repairSidecar, updateSidecar } from './sidecar-update-calls.ts';
import { sidecarView } from './sidecar-view.ts';
import { createTailnet, deleteTailnet, requireTailnet, tailnetView } from './tailnet-calls.ts';
import { pauseTailnet, planUpdateTailnet, type UpdateConsents, updateTailnet } from './tailnet-update-calls.ts';
import { planUpgrade, upgradeSidecars } from './upgrade-calls.ts';
import { type Awaited, waitFor } from './wait-for.ts';

/**
 * Gives each customer's books that customer's private network, and nobody else's. One per process that embeds the SDK; several side by side do not meet.
 * The constructor is inert: nothing is opened before `start()`. Disposing stops the loops, then closes the adapters.
 *
 * @example
 * await using manager = new NetworkManager({ cluster, store, controlPlane, images, ingest });
 * await manager.start();
 * @throws {BifrostError} `INVALID_OPTIONS` with one issue per wrong field
 */
export class NetworkManager extends CuttingManager {
  /** Which adapters this manager runs on. */
  get adapters(): { readonly cluster: string; readonly store: string; readonly controlPlane: string } {
    const { cluster, store, controlPlane } = this.context;
    return { cluster: cluster.kind, store: store.kind, controlPlane: controlPlane.kind };
  }

  /**
   * Records that a customer wants a tailnet; the loop makes it, and `tailnet:activated` tells when it is there. The same request again answers with
   * what exists.
   *
   * @throws {BifrostError} `INVALID_ARGUMENT` with one issue per wrong field; `TAILNET_EXISTS` — the name is taken (it does not say by whom)
   */
  async createTailnet(request: CreateTailnetInput, options?: CallerOptions): Promise<Made<CreateTailnetResponse>> {
    return createTailnet(this.context, request, this.call(options));
  }

  /** @throws {BifrostError} `TAILNET_NOT_FOUND` */
  async getTailnet(tailnetName: string, options?: CallerOptions): Promise<Tailnet> {
    return tailnetView(await requireTailnet(this.context, tailnetName, this.call(options)));
  }

  /** All tailnets, by name; `customerId` narrows it to one customer's. */
  async listTailnets(options: CallerOptions & { readonly customerId?: string } = {}): Promise<readonly Tailnet[]> {
    const tailnets = await this.context.store.tailnets.list(this.call(options));
    const { customerId } = options;
    const seen = tailnets.filter(({ spec }) => isVisible(spec.customerId, options.scope));
    return seen.map(tailnetView).filter((tailnet) => customerId === undefined || tailnet.customerId === customerId);
  }

  /**
   * Changes a tailnet's configuration or tags; what is left out stays. Sidecars whose pods would have to be replaced follow in waves, if `allowRollout`
   * says that they may; `planUpdateTailnet` tells them beforehand. `confirm`: it may take away more than half (`confirmLossShare`) of the peers in use.
   *
   * @throws {BifrostError} `INVALID_ARGUMENT`, `TAILNET_NOT_FOUND`, `TAILNET_DELETING`, `ROLLOUT_REQUIRED`, `CONFIRM_REQUIRED`: nothing was written
   */
  async updateTailnet(request: UpdateTailnetInput & UpdateConsents, options?: ChangeOptions): Promise<Tailnet> {
    return updateTailnet(this.context, request, this.call(options));
  }

  /** What `updateTailnet` would change, whose pods it would replace, which peers in use it would take away. Writes nothing. @throws as `updateTailnet` but for `ROLLOUT_REQUIRED`, `CONFIRM_REQUIRED` */
  async planUpdateTailnet(request: UpdateTailnetInput, options?: CallerOptions): Promise<ChangePlan> {
    return this.asked({ action: 'planUpdateTailnet', subject: request?.tailnetName, options }, (call) =>
      planUpdateTailnet(this.context, request, call),
    );
  }

  /** From now on nothing is changed outside for this tailnet and its sidecars; reports and events go on. @throws {BifrostError} `TAILNET_NOT_FOUND` */
  async pauseTailnet(tailnetName: string, options?: ChangeOptions): Promise<Tailnet> {
    return pauseTailnet(this.context, { tailnetName, paused: true }, this.call(options));
  }

  /** Ends a pause: everything is looked at again. @throws {BifrostError} `TAILNET_NOT_FOUND` */
  async resumeTailnet(tailnetName: string, options?: ChangeOptions): Promise<Tailnet> {
    return pauseTailnet(this.context, { tailnetName, paused: false }, this.call(options));
  }

  /**
   * Deletes a tailnet; `cascade` detaches its sidecars first. The loop does the rest; `waitFor({ tailnetName, status: 'gone' })` waits for it.
   * `abandon`: what cannot be taken away, of it and of its sidecars, is left, and recorded; the way out when credentials are dead.
   *
   * @throws {BifrostError} `TAILNET_NOT_FOUND`; `TAILNET_IN_USE` — it has sidecars and `cascade` was not asked for
   */
  async deleteTailnet(tailnetName: string, options: ChangeOptions & { readonly cascade?: boolean; readonly abandon?: boolean } = {}): Promise<void> {
    const call = this.call(options);
    const { cascade = false, abandon = false } = options;
    return deleteTailnet(this.context, { tailnetName, cascade, abandon }, call);
  }

  /**
   * Checks everything that can be known at once, then records that a workload wants a sidecar. The same request again is a no-op.
   *
   * @throws {BifrostError} `INVALID_ARGUMENT`, `TAILNET_NOT_FOUND`, `TAILNET_DELETING`, `WORKLOAD_NOT_FOUND`, `WORKLOAD_AMBIGUOUS`, `WORKLOAD_UNSUPPORTED`,
   * `CUSTOMER_MISMATCH`, `SIDECAR_EXISTS`, `HOSTNAME_TAKEN`, `FIELD_CONFLICT`, `POD_SECURITY_FORBIDDEN`, `CLUSTER_RANGES_UNKNOWN`: nothing was written
   */
  async attachSidecar(request: AttachSidecarInput, options?: CallerOptions): Promise<Made<AttachSidecarResponse>> {
    return attachSidecar(this.context, request, this.call(options));
  }

  /** Exactly what `attachSidecar` would apply, with the same checks and the same errors. Writes nothing. */
  async planAttach(request: AttachSidecarInput, options?: CallerOptions): Promise<AttachPlan> {
    return this.asked({ action: 'planAttachSidecar', subject: request?.tailnetName, options }, (call) => planAttach(this.context, request, call));
  }

  /**
   * Renders a sidecar into the manifest of a workload that is yet to be created (Job, CronJob, or any other kind), and registers it: its key is ready
   * before its pods are. The creator owns those fields, so upgrades and repairs answer `OWNED_BY_CREATOR`. The same call again gives the same manifest;
   * a registration whose workload does not come expires; a Job that has ended is released by itself.
   *
   * @throws {BifrostError} as `attachSidecar`; `INVALID_ARGUMENT` with a path under `manifest`: nothing was written
   * @example
   * const { manifest } = await manager.injectSidecar({ manifest: job, tailnetName: 'acme', config: { hostname: 'nightly-import', acceptRoutes: true } });
   */
  async injectSidecar<Manifest extends WorkloadManifest>(
    request: InjectSidecarInput & { readonly manifest: Manifest },
    options?: CallerOptions,
  ): Promise<Injected<Manifest>> {
    return injectSidecar(this.context, request, this.call(options));
  }

  /**
   * Changes a sidecar's configuration; what is left out stays. Its pods are replaced, if `allowRollout` says that they may; when they do not all connect
   * within the attach deadline, what was there before comes back (`sidecar:reverted`).
   *
   * @throws {BifrostError} `INVALID_ARGUMENT`, `SIDECAR_NOT_FOUND`, `OWNED_BY_CREATOR`, `SIDECAR_QUARANTINED`, `ROLLOUT_REQUIRED`, and what `attachSidecar` refuses: nothing was written
   */
  async updateSidecar(request: UpdateSidecarInput & { readonly allowRollout?: boolean }, options?: ChangeOptions): Promise<Sidecar> {
    return updateSidecar(this.context, request, this.call(options));
  }

  /** What `updateSidecar` would change. Writes nothing. @throws as `updateSidecar` but for `ROLLOUT_REQUIRED` */
  async planUpdateSidecar(request: UpdateSidecarInput, options?: CallerOptions): Promise<ChangePlan> {
    return this.asked({ action: 'planUpdateSidecar', subject: request?.sidecarId, options }, (call) =>
      planUpdateSidecar(this.context, request, call),
    );
  }

  /** Puts right once more what somebody else keeps changing (`DRIFT_REPEATED`). @throws {BifrostError} `SIDECAR_NOT_FOUND`, `OWNED_BY_CREATOR`, `SIDECAR_QUARANTINED` */
  async repairSidecar(sidecarId: string, options?: ChangeOptions): Promise<Sidecar> {
    return repairSidecar(this.context, sidecarId, this.call(options));
  }

  /**
   * Puts the sidecars of a tailnet on what this SDK renders now: a newer SDK alone changes no running book. In waves, each sidecar on trial; one that
   * does not connect is rolled back and halts the rest (`upgrade:halted`). Progress: `getTailnet(name).upgrade`.
   *
   * @throws {BifrostError} `INVALID_ARGUMENT`, `TAILNET_NOT_FOUND`, `TAILNET_DELETING`, `TAILNET_NOT_ACCEPTED`, `POD_SECURITY_FORBIDDEN`: nothing was written
   */
  async upgradeSidecars(request: UpgradeSidecarsInput, options?: ChangeOptions): Promise<UpgradeProgress> {
    return upgradeSidecars(this.context, request, this.call(options));
  }

  /** Whose pods `upgradeSidecars` would replace, and what differs in them. Writes nothing. @throws as `upgradeSidecars` */
  async planUpgrade(request: UpgradeSidecarsInput, options?: CallerOptions): Promise<ChangePlan> {
    return this.asked({ action: 'planUpgradeSidecars', subject: request?.tailnetName, options }, (call) => planUpgrade(this.context, request, call));
  }

  /**
   * Takes a sidecar away with all that was made for it. Returns at once; `waitFor({ sidecarId, status: 'gone' })` waits for it. `abandon`: what the
   * control plane, the cluster, or pods that do not end hold back is left, and recorded; never because the API server is away.
   *
   * @throws {BifrostError} `SIDECAR_NOT_FOUND`; `ATTACHED_BY_ANNOTATION` — it would come back; `OWNED_BY_CREATOR` — it was injected
   */
  async detachSidecar(sidecarId: string, options: ChangeOptions & { readonly abandon?: boolean } = {}): Promise<void> {
    const call = this.call(options);
    const { abandon = false } = options;
    return detachSidecar(this.context, { sidecarId, abandon }, call);
  }

  /** @throws {BifrostError} `SIDECAR_NOT_FOUND` */
  async getSidecar(sidecarId: string, options?: CallerOptions): Promise<Sidecar> {
    return sidecarView(this.context, await requireSidecar(this.context, sidecarId, this.call(options)));
  }

  /** All sidecars; `tailnetName` narrows it to one tailnet's. */
  async listSidecars(options: CallerOptions & { readonly tailnetName?: string } = {}): Promise<readonly Sidecar[]> {
    const sidecars = await this.context.store.sidecars.list(this.call(options));
    const { tailnetName } = options;
    return sidecars
      .filter(({ spec }) => isVisible(spec.customerId, options.scope) && (tailnetName === undefined || spec.tailnetName === tailnetName))
      .map((sidecar) => sidecarView(this.context, sidecar));
  }

  /** The specification's status answer. Bytes are as the books see them. @throws {BifrostError} `TAILNET_NOT_FOUND` */
  async getNetworkStatus(tailnetName: string, options?: CallerOptions): Promise<NetworkStatus> {
    return getNetworkStatus(this.context, tailnetName, this.call(options));
  }

  /** One metric per tailnet, or one tailnet's; `customerId` narrows it to one customer's. @throws {BifrostError} `TAILNET_NOT_FOUND` */
  async getConnectionMetrics(
    options: CallerOptions & { readonly tailnetName?: string; readonly customerId?: string } = {},
  ): Promise<readonly ConnectionMetric[]> {
    const call = this.call(options);
    const { tailnetName, customerId } = options;
    return getConnectionMetrics(this.context, { tailnetName, customerId }, call);
  }

  /**
   * Connectivity events that pass the filters, in order: after `resumeToken`, or from this call on. Reads at the first `next()`; `break` ends it. A reader
   * more than 1024 events behind, or further than what is kept, gets `STREAM_OVERFLOW`, never a silent gap; `details.resumeToken` goes on where it was.
   * With `heartbeatMs` a heartbeat when nothing has passed for so long. Events are shared and frozen. Cancel: the iteration rejects with `signal.reason`.
   *
   * @throws {BifrostError} `INVALID_ARGUMENT`; `RESUME_TOKEN_EXPIRED` — read the status anew and open without a token
   */
  monitorConnectivity(
    options: CallerOptions & MonitorConnectivityInput & { readonly heartbeatMs: number },
  ): AsyncIterable<ConnectivityEvent | ConnectivityHeartbeat>;
  monitorConnectivity(options?: CallerOptions & Omit<MonitorConnectivityInput, 'heartbeatMs'>): AsyncIterable<ConnectivityEvent>;
  monitorConnectivity(options: CallerOptions & MonitorConnectivityInput = {}): AsyncIterable<ConnectivityEvent | ConnectivityHeartbeat> {
    const call = this.call(options);
    const { signal: _, actor: _actor, ...request } = options;
    return monitorConnectivity(this.context, request, call);
  }

  /** Subscribes to one event. Events inform; a listener that throws is logged and stops nobody. Dispose to unsubscribe. */
  on<Name extends ManagerEventName>(name: Name, listener: (event: ManagerEvents[Name]) => void): Disposable {
    return this.context.events.on(name, listener);
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
    return waitFor(this.context, awaited, this.call(options));
  }

  /** What was made outside and has no owner any more, read back from cluster and control plane now. Empty is how it should be. */
  async listLeftovers(options?: CallerOptions): Promise<readonly Leftover[]> {
    return listLeftovers(this.context, this.call(options));
  }

  /**
   * Takes one agent report (parsed JSON). Used by the report door of `@bifrost/sdk/server`.
   *
   * @throws {BifrostError} `REPORT_INVALID`, `REPORT_UNAUTHENTICATED`, `REPORT_FORBIDDEN`; `CLUSTER_UNAVAILABLE` when the cluster cannot vouch now
   */
  async ingestReport(report: CallerOptions & { readonly token: Secret; readonly document: unknown }): Promise<ReportAnswerV1> {
    this.open();
    const { stopping } = this;
    const { token, document, signal } = requireReport(report);
    if (signal === undefined) return ingestReport(this.context, { token, document, signal: stopping });
    using linked = linkedSignal(signal, stopping);
    return await ingestReport(this.context, { token, document, signal: linked.signal });
  }
}
