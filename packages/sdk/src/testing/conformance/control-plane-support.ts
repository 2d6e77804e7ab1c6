import { randomUUID } from 'node:crypto';
import type { Secret } from '@bifrost/types/core';
import type { it } from 'vitest';
import type { ControlCredential, ControlPlane, ControlTailnet, KeyRequest, TailnetControl } from '../../ports/control-plane.ts';
import type { CallOptions } from '../../ports/store.ts';

/** What the suite needs from outside the port. */
export interface ControlPlaneAdmin {
  /** A machine joins with a key; rejects when the control plane refuses it. Without it, cases about machines cannot run. */
  readonly join?: (machine: {
    readonly authKey: Secret;
    readonly hostname: string;
    readonly advertiseRoutes?: readonly string[];
  }) => Promise<{ readonly deviceId: string; readonly addresses: readonly string[] }>;
  /** How many tailnets the organization has room for now. Without it, the case about its limit cannot run. */
  readonly room?: () => Promise<number>;
}

/** One control plane to judge: an organization's client is configured. Disposing it is the caller's end of `open`. */
export interface ControlPlaneBench extends AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly admin: ControlPlaneAdmin;
}

/** Parts of {@link ControlPlaneAdmin} that an adapter's bench does not offer: their cases are skipped by name, and counted. */
export type Lack = 'join' | 'room';

export interface Made extends ControlTailnet {
  readonly dnsName: string;
  readonly credential: ControlCredential;
  readonly control: TailnetControl;
}
export interface Case {
  readonly plane: ControlPlane;
  readonly admin: ControlPlaneAdmin;
  readonly options: CallOptions;
  /** A new tailnet, deleted when the case ends. */
  readonly make: () => Promise<Made>;
}

export const TAG = 'tag:conformance';
export const ROUTE = '10.77.1.0/24';
/** With a comment and trailing commas: a policy is HuJSON. */
export const POLICY = `{
  // kept as written
  "tagOwners": { "${TAG}": [] },
  "autoApprovers": { "routes": { "10.77.0.0/16": ["${TAG}"], }, },
  "grants": [{ "src": ["*"], "dst": ["*"], "ip": ["*"] }],
}`;
export const KEY: KeyRequest = { description: 'bifrost-conformance', tags: [TAG], reusable: false, ephemeral: true, lifetimeSeconds: 600 };
export const newName = (): string => `conformance-${randomUUID().slice(0, 13)}`;

export type Run = (work: (given: Case) => Promise<void>) => () => Promise<void>;
export type Test = typeof it | ReturnType<typeof it.skipIf>;

/** Runs each case on a bench of its own and deletes what it made. */
export function runner(open: () => Promise<ControlPlaneBench>): Run {
  return (work) => async () => {
    const signal = AbortSignal.timeout(60_000);
    await using bench = await open();
    const made: TailnetControl[] = [];
    const make = async (): Promise<Made> => {
      const tailnet = await bench.controlPlane.createTailnet(newName(), { signal });
      const { controlId, credential } = tailnet;
      const control = bench.controlPlane.tailnet({ credential, controlId });
      made.push(control);
      return { ...tailnet, control };
    };
    try {
      await work({ plane: bench.controlPlane, admin: bench.admin, options: { signal }, make });
    } finally {
      for (const control of made) await control.deleteTailnet({ signal });
    }
  };
}

/** Every call of a tailnet, harmless where it may succeed. */
export function everyCall(control: TailnetControl, options: CallOptions): readonly Promise<unknown>[] {
  return [
    control.describe(options),
    control.createKey(KEY, options),
    control.listKeys(options),
    control.revokeKey('kUnheardOf', options),
    control.listDevices(options),
    control.deleteDevice('nUnheardOf', options),
    control.approveRoutes('nUnheardOf', [], options),
    control.readPolicy(options),
    control.writePolicy(POLICY, 'unheard-of', options),
    control.deleteTailnet(options),
  ];
}
