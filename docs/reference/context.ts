/** What the examples of doc comments take for granted: their readers have these. `scripts/examples.mjs` imports what an example uses. */
import type {
  BifrostError,
  Clock,
  Cluster,
  ControlPlane,
  NetworkManager,
  NetworkManagerOptions,
  PolicyMember,
  PolicySections,
  ProvenCustomer,
  Secret,
  SidecarFragment,
  Store,
  WorkloadManifest,
} from '@bifrost/sdk';
import type { Authenticator } from '@bifrost/sdk/server';
import type { SimulatedControl, TailscaledSimulatorOptions } from '@bifrost/sdk/testing';
import type { LocalApiUnderTest } from '@bifrost/sdk/testing/conformance';
import type { CreateTailnetInput } from '@bifrost/types';

export { createWriteStream } from 'node:fs';
export { createServer } from 'node:https';
export declare const manager: NetworkManager;
export declare const cluster: Cluster;
export declare const store: Store;
export declare const controlPlane: ControlPlane;
export declare const clock: Clock;
export declare const images: NetworkManagerOptions['images'];
export declare const ingest: NetworkManagerOptions['ingest'];
export declare const signal: AbortSignal;
export declare const authenticator: Authenticator;
export declare const error: BifrostError;
export declare const request: CreateTailnetInput;
export declare const input: unknown;
export declare const clientId: string;
export declare const clientSecret: Secret;
export declare const value: string;
export declare const cert: string;
export declare const key: string;
export declare const socketPath: string;
export declare const node: TailscaledSimulatorOptions['node'];
export declare const peers: NonNullable<TailscaledSimulatorOptions['peers']>;
export declare const control: SimulatedControl;
export declare const agentProgram: string;
export declare const fragment: SidecarFragment;
export declare const members: readonly PolicyMember[];
export declare const sections: PolicySections;
export declare const policyText: string;
export declare const customers: readonly ProvenCustomer[];
export declare const sidecarId: string;
export declare const metadata: { readonly namespace: string; readonly name: string };
export declare const spec: WorkloadManifest['spec'];
export declare const job: WorkloadManifest & { readonly kind: 'Job'; readonly metadata: typeof metadata };
export declare const createJob: (manifest: typeof job) => Promise<void>;
export declare const peer: LocalApiUnderTest['peer'];
export declare const rename: LocalApiUnderTest['rename'];
export declare const talk: LocalApiUnderTest['talk'];
export declare const stop: () => Promise<void>;
