import type { ConnectivityEventType } from './messages.ts';
import type { Cause, SidecarStatus } from './network.ts';
import type { ProofFinding } from './proof.ts';

interface TailnetEvent {
  readonly tailnetName: string;
  readonly customerId: string;
  readonly atMs: number;
}
interface SidecarEvent extends TailnetEvent {
  readonly sidecarId: string;
  readonly bookDeploymentId: string;
}
interface UpgradeEvent extends TailnetEvent {
  readonly upgradeId: string;
}
/** A change of one instance's connection. */
export interface InstanceEvent extends SidecarEvent {
  readonly podName: string;
  readonly podUid: string;
  readonly state: SidecarStatus;
  readonly previousState: SidecarStatus;
  /** Absent when the connection is fine. */
  readonly cause?: Cause;
  readonly ipAddress?: string;
}

/** Every event of a manager: `noun:past-verb`, one readonly payload with `atMs` (Unix milliseconds). Events inform; they never drive. */
export interface ManagerEvents {
  'tailnet:created': TailnetEvent;
  'tailnet:activated': TailnetEvent;
  'tailnet:failed': TailnetEvent & { readonly code: string };
  'tailnet:deleted': TailnetEvent;
  'policy:drifted': TailnetEvent & { readonly repaired: boolean };
  /** `tailnetName` is empty where it is no tailnet's. */
  'isolation:violated': TailnetEvent & ProofFinding;
  'upgrade:started': UpgradeEvent;
  'upgrade:finished': UpgradeEvent;
  'upgrade:halted': UpgradeEvent & { readonly sidecarId: string; readonly code: string };
  'sidecar:attached': SidecarEvent;
  'sidecar:failed': SidecarEvent & { readonly code: string };
  'sidecar:updated': SidecarEvent;
  'sidecar:reverted': SidecarEvent & { readonly code: string };
  'sidecar:drifted': SidecarEvent & { readonly manager: string; readonly repaired: boolean; readonly networkPolicy?: string };
  'sidecar:quarantined': SidecarEvent;
  'sidecar:readmitted': SidecarEvent;
  'sidecar:detached': SidecarEvent;
  'workload:refused': TailnetEvent & { readonly workload: string; readonly code: string };
  'instance:connected': InstanceEvent;
  'instance:degraded': InstanceEvent;
  'instance:disconnected': InstanceEvent;
  'instance:lost': InstanceEvent;
  'instance:removed': SidecarEvent & { readonly podName: string; readonly podUid: string };
}
/** The name of an event, as `manager.on` takes it. */
export type ManagerEventName = keyof ManagerEvents;

/** Which manager events reach `monitorConnectivity`, and as which of the specification's words. */
export const CONNECTIVITY_WORDS = {
  'instance:connected': 'connected',
  'instance:degraded': 'error',
  'instance:disconnected': 'disconnected',
  'instance:lost': 'error',
} as const satisfies Partial<Record<ManagerEventName, ConnectivityEventType>>;
