import type { Secret } from '@bifrost/types/core';
import type { DeviceConnectivity } from '../domain/policy/firewall-check.ts';
import type { Relay } from '../domain/policy/relays.ts';
import type { CallOptions } from './store.ts';

/** An OAuth client of one tailnet. */
export interface ControlCredential {
  readonly clientId: string;
  readonly clientSecret: Secret;
}

/** A tailnet as the organization's list has it. */
export interface ControlTailnet {
  /** The control plane's own id. */
  readonly controlId: string;
  readonly displayName: string;
}

/** How to reach one tailnet: by its own client, or, for one that we created and whose client is lost, by the organization's client and `controlId`. */
export interface TailnetAccess {
  readonly credential?: ControlCredential;
  readonly controlId?: string;
}

/** An auth key on record; its value came once, with `createKey`. */
export interface ControlKey {
  readonly keyId: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly expiresAtMs: number;
  /** False once used up, expired or revoked. */
  readonly valid: boolean;
}

/** An auth key that is wanted. */
export interface KeyRequest {
  /** Letters, digits, hyphen; at most 50. Ours start with `bifrost-`. */
  readonly description: string;
  readonly tags: readonly string[];
  readonly reusable: boolean;
  readonly ephemeral: boolean;
  readonly lifetimeSeconds: number;
}

/** A machine that has joined. */
export interface Device {
  readonly deviceId: string;
  /** As the machine asked for it; `name` is what it got. */
  readonly hostname: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly tags: readonly string[];
  readonly ephemeral: boolean;
  readonly connected: boolean;
  /** Unset while connected, and where the control plane does not say. */
  readonly lastSeenAtMs?: number | undefined;
  readonly createdAtMs: number;
  readonly advertisedRoutes: readonly string[];
  readonly enabledRoutes: readonly string[];
  /** As the machine told it last; unset before it has. */
  readonly connectivity?: DeviceConnectivity | undefined;
}

/**
 * One tailnet at the control plane. Every method rejects with `signal.reason` itself when aborted.
 *
 * @throws {BifrostError} `CONTROL_CREDENTIALS_INVALID` (the token call or a call was refused as unknown), `CONTROL_DENIED` (scope or permission lacks),
 * `CONTROL_NOT_FOUND`, `CONTROL_QUOTA`, `CONTROL_CONFLICT`, `CONTROL_RATE_LIMITED` (with `retryAfterMs`), `CONTROL_UNAVAILABLE`, `CONTROL_ANSWER_INVALID` from any method.
 */
export interface TailnetControl {
  /** Proves that the credential works and says which tailnet it is for, or `-` (`UNTOLD_CONTROL_ID`). */
  describe(options: CallOptions): Promise<{ readonly controlId: string; readonly dnsName: string | undefined }>;
  /** Makes an auth key. Its value is in the answer and nowhere else. */
  createKey(request: KeyRequest, options: CallOptions): Promise<ControlKey & { readonly key: Secret }>;
  /** Auth keys that are not revoked, ours and others'. */
  listKeys(options: CallOptions): Promise<readonly ControlKey[]>;
  /** Absent is success. Devices that joined with it stay. */
  revokeKey(keyId: string, options: CallOptions): Promise<void>;
  /** All machines, ours and others'. The list may be older than what has just joined, or gone. */
  listDevices(options: CallOptions): Promise<readonly Device[]>;
  /** One machine as it is now; undefined when there is none of that id. */
  findDevice(deviceId: string, options: CallOptions): Promise<Device | undefined>;
  /** Absent is success. */
  deleteDevice(deviceId: string, options: CallOptions): Promise<void>;
  /** Replaces the set of approved routes. @throws {BifrostError} `CONTROL_NOT_FOUND` */
  approveRoutes(deviceId: string, routes: readonly string[], options: CallOptions): Promise<void>;
  /** The policy as stored, with its etag. */
  readPolicy(options: CallOptions): Promise<{ readonly text: string; readonly etag: string }>;
  /**
   * Replaces the policy if its etag is still `etag` (`ts-default`: the untouched default).
   * @throws {BifrostError} `CONTROL_CONFLICT`; `POLICY_REFUSED` — it is none, names what is not defined, or its own tests fail: an issue for each. Nothing changes.
   */
  writePolicy(text: string, etag: string, options: CallOptions): Promise<void>;
  /** Deletes the tailnet itself. Absent is success. */
  deleteTailnet(options: CallOptions): Promise<void>;
}

/** The control plane of the tailnets. Not Kubernetes. */
export interface ControlPlane extends AsyncDisposable {
  /** The adapter's name, e.g. `tailscale`, `memory`. */
  readonly kind: string;
  /** Tailnets that the organization's client can see. Empty when no organization client is configured. */
  listTailnets(options: CallOptions): Promise<readonly ControlTailnet[]>;
  /**
   * Creates a tailnet in the organization. Its client secret is in the answer and nowhere else: store it before anything else.
   * @throws {BifrostError} `CONTROL_QUOTA` — the organization's limit; `CONTROL_CONFLICT` — the name is taken: find it by `listTailnets`
   */
  createTailnet(
    displayName: string,
    options: CallOptions,
  ): Promise<ControlTailnet & { readonly dnsName: string; readonly credential: ControlCredential }>;
  /**
   * The relays that the control plane gives to all tailnets, by region and name. It may be a map that is some minutes old. A tailnet's own policy may add
   * some, or take these away (`derpMap`).
   * @throws {BifrostError} `CONTROL_NOT_FOUND`, `CONTROL_ANSWER_INVALID` — it publishes none; `CONTROL_RATE_LIMITED`, `CONTROL_UNAVAILABLE`
   */
  relays(options: CallOptions): Promise<readonly Relay[]>;
  /** Cheap: nothing is called yet. */
  tailnet(access: TailnetAccess): TailnetControl;
}
