import type { ManagerEventName, ManagerEvents } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { isCutOff } from '../domain/quarantine.ts';
import type { Clock } from '../ports/index.ts';
import type { EventBus } from './event-bus.ts';

/** What listeners have been told of an object. `id` tells it from a later one of the same name. */
interface Told<Payload> {
  readonly id: string;
  readonly payload: Payload;
  /** Version last looked at or written by ourselves. */
  version: string;
  settled: boolean;
  failedCode: string | undefined;
  /** Only of sidecars. */
  quarantined?: boolean;
}
type TailnetPayload = Omit<ManagerEvents['tailnet:created'], 'atMs'>;
type SidecarPayload = Omit<ManagerEvents['sidecar:attached'], 'atMs'>;

const failedCodeOf = ({ deleting, state }: StoredTailnet | StoredSidecar): string | undefined =>
  !deleting && state.phase === 'failed' ? state.reason?.code : undefined;

const tailnetTold = ({ key, version, spec: { tailnetId, customerId } }: StoredTailnet): Told<TailnetPayload> => ({
  id: tailnetId,
  version,
  payload: { tailnetName: key, customerId },
  settled: false,
  failedCode: undefined,
});

const sidecarTold = ({ version, spec: { sidecarId, tailnetName, customerId, bookDeploymentId } }: StoredSidecar): Told<SidecarPayload> => ({
  id: sidecarId,
  version,
  payload: { tailnetName, customerId, sidecarId, bookDeploymentId },
  settled: false,
  failedCode: undefined,
});

/**
 * Tells each change of a stored object once: it compares what is stored now with what was told, so that a change whose write lost its reply is told
 * all the same, and a repeated look says nothing.
 */
export class Announcer {
  readonly #events: EventBus;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #tailnets = new Map<string, Told<TailnetPayload>>();
  readonly #sidecars = new Map<string, Told<SidecarPayload>>();

  constructor(events: EventBus, clock: Pick<Clock, 'nowMs'>) {
    this.#events = events;
    this.#clock = clock;
  }

  /** What was there before this manager is no news. */
  prime({ tailnets, sidecars }: { readonly tailnets: readonly StoredTailnet[]; readonly sidecars: readonly StoredSidecar[] }): void {
    for (const tailnet of tailnets) {
      if (this.#tailnets.has(tailnet.key)) continue;
      this.#tailnets.set(tailnet.key, {
        ...tailnetTold(tailnet),
        version: '',
        settled: tailnet.state.phase === 'active',
        failedCode: failedCodeOf(tailnet),
      });
    }
    for (const sidecar of sidecars) {
      if (this.#sidecars.has(sidecar.key)) continue;
      this.#sidecars.set(sidecar.key, {
        ...sidecarTold(sidecar),
        version: '',
        settled: sidecar.state.applied !== undefined, // false: it has been in before
        failedCode: failedCodeOf(sidecar),
        quarantined: isCutOff(sidecar),
      });
    }
  }

  /** Keys of what has been told of and is not gone: the resync looks whether they still are there. */
  get known(): { readonly tailnets: readonly string[]; readonly sidecars: readonly string[] } {
    return { tailnets: [...this.#tailnets.keys()], sidecars: [...this.#sidecars.keys()] };
  }

  /** Whether this version has been looked at, or is our own write: a hint about it says nothing new. */
  hasSeen(kind: 'tailnet' | 'sidecar', key: string, version: string | undefined): boolean {
    const told = (kind === 'tailnet' ? this.#tailnets : this.#sidecars).get(key);
    return told?.version === version;
  }

  /** Whose an object is, as far as is known. */
  customerOf(kind: 'tailnet' | 'sidecar', key: string): string | undefined {
    return (kind === 'tailnet' ? this.#tailnets : this.#sidecars).get(key)?.payload.customerId;
  }

  /** Keys of the known sidecars of a tailnet. */
  sidecarsOf(tailnetName: string): readonly string[] {
    return [...this.#sidecars].filter(([, { payload }]) => payload.tailnetName === tailnetName).map(([key]) => key);
  }

  /** A tailnet as stored now. True when it has become active. */
  sawTailnet(key: string, now: StoredTailnet | undefined): boolean {
    const before = this.#tailnets.get(key);
    if (before !== undefined && before.id !== now?.spec.tailnetId) {
      this.#tailnets.delete(key);
      this.#emit('tailnet:deleted', before.payload);
    }
    this.#events.changed();
    if (now === undefined) return false;
    const told = this.#tailnets.get(key) ?? tailnetTold(now);
    if (!this.#tailnets.has(key)) {
      this.#tailnets.set(key, told);
      this.#emit('tailnet:created', told.payload);
    }
    told.version = now.version;
    const failedCode = failedCodeOf(now);
    const failedNow = failedCode !== undefined && failedCode !== told.failedCode;
    const activeNow = now.state.phase === 'active' && !told.settled;
    if (failedCode !== undefined) Object.assign(told, { settled: false, failedCode });
    if (now.state.phase === 'active') Object.assign(told, { settled: true, failedCode: undefined });
    if (failedNow) this.#emit('tailnet:failed', { ...told.payload, code: failedCode });
    if (activeNow) this.#emit('tailnet:activated', told.payload);
    return activeNow;
  }

  /** A sidecar as stored now. */
  sawSidecar(key: string, now: StoredSidecar | undefined): void {
    const before = this.#sidecars.get(key);
    if (before !== undefined && before.id !== now?.spec.sidecarId) {
      this.#sidecars.delete(key);
      this.#emit('sidecar:detached', before.payload);
    }
    this.#events.changed();
    if (now === undefined) return;
    const told = this.#sidecars.get(key) ?? sidecarTold(now);
    this.#sidecars.set(key, told);
    told.version = now.version;
    const failedCode = failedCodeOf(now);
    const failedNow = failedCode !== undefined && failedCode !== told.failedCode;
    const attachedNow = now.state.applied === true && !told.settled;
    const wasQuarantined = told.quarantined === true;
    const quarantined = isCutOff(now);
    Object.assign(told, { settled: told.settled || attachedNow, failedCode, quarantined });
    if (attachedNow) this.#emit('sidecar:attached', told.payload);
    if (failedNow) this.#emit('sidecar:failed', { ...told.payload, code: failedCode });
    if (quarantined && !wasQuarantined) this.#emit('sidecar:quarantined', told.payload);
    if (wasQuarantined && !quarantined) this.#emit('sidecar:readmitted', told.payload);
  }

  /** A pod of the sidecar that this manager knew is gone. */
  lostInstance(
    { spec: { sidecarId, tailnetName, customerId, bookDeploymentId } }: StoredSidecar,
    pod: { readonly podName: string; readonly podUid: string },
  ): void {
    const { podName, podUid } = pod;
    this.#emit('instance:removed', { tailnetName, customerId, sidecarId, bookDeploymentId, podName, podUid });
  }

  #emit<Name extends ManagerEventName>(name: Name, payload: Omit<ManagerEvents[Name], 'atMs'>): void {
    this.#events.emit(name, { ...payload, atMs: this.#clock.nowMs() } as unknown as ManagerEvents[Name]);
  }
}
