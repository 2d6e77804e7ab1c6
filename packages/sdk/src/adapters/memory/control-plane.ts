import { BifrostError, type ErrorCode, type Secret } from '@bifrost/types/core';
import type { Relay } from '../../domain/policy/relays.ts';
import type {
  ControlCredential,
  ControlKey,
  ControlPlane,
  ControlTailnet,
  Device,
  KeyRequest,
  TailnetAccess,
  TailnetControl,
} from '../../ports/control-plane.ts';
import type { CallOptions } from '../../ports/store.ts';
import { SimulatedControl, type SimulatedGrant } from './simulated-control.ts';
import type { SimulatedDevice, SimulatedKey, SimulatedTailnet } from './simulated-tailnet.ts';

/** Settings of {@link MemoryControlPlane}. */
export interface MemoryControlPlaneOptions {
  /** The state behind it; join machines to it by its own methods. @default a new one */
  readonly control?: SimulatedControl;
  /** The organization's client that we were given, or `undefined` for none. @default the state's own */
  readonly organization?: ControlCredential | undefined;
}

interface Fault {
  readonly code: ErrorCode;
  readonly retryAfterMs?: number;
}

/** A working control plane in memory, for tests and for trying things out: the same rules as the real one, no network. */
export class MemoryControlPlane implements ControlPlane {
  readonly kind = 'memory';
  readonly control: SimulatedControl;
  readonly #organization: ControlCredential | undefined;
  readonly #faults: Fault[] = [];
  #disposed = false;

  constructor(options: MemoryControlPlaneOptions = {}) {
    this.control = options.control ?? new SimulatedControl();
    this.#organization = 'organization' in options ? options.organization : this.control.organization;
  }

  /** The next call, whichever it is, fails with `code`; calls after it work again. Several faults queue up. */
  failNext(code: ErrorCode, options: { readonly retryAfterMs?: number } = {}): void {
    this.#faults.push({ code, ...options });
  }

  listTailnets(options: CallOptions): Promise<readonly ControlTailnet[]> {
    return this.#enter(options, () => {
      if (!this.#organization) return [];
      const tailnets = this.control.listTailnets(this.control.signIn(this.#organization));
      return tailnets.map(({ controlId, displayName }) => ({ controlId, displayName }));
    });
  }

  createTailnet(
    displayName: string,
    options: CallOptions,
  ): Promise<ControlTailnet & { readonly dnsName: string; readonly credential: ControlCredential }> {
    return this.#enter(options, () => this.control.createTailnet(this.control.signIn(this.#organizationClient()), displayName));
  }

  relays(options: CallOptions): Promise<readonly Relay[]> {
    return this.#enter(options, () => this.control.relays);
  }

  tailnet(access: TailnetAccess): TailnetControl {
    const signIn = (): SimulatedGrant => {
      if (access.credential) return this.control.signIn(access.credential);
      if (access.controlId !== undefined) return this.control.signIn(this.#organizationClient(), access.controlId);
      throw new BifrostError({
        code: 'CONTROL_CREDENTIALS_INVALID',
        message: 'give the OAuth client of the tailnet, or its control id',
        issues: [{ path: 'credential.secretName', message: 'is needed' }],
      });
    };
    /** True when the organization, asked, no longer has the tailnet. */
    const isAbsent = (): boolean => {
      if (!this.#organization || access.controlId === undefined) return false;
      const tailnets = this.control.listTailnets(this.control.signIn(this.#organization));
      return tailnets.every(({ controlId }) => controlId !== access.controlId);
    };
    return new MemoryTailnet({
      control: this.control,
      controlId: access.controlId,
      signIn,
      isAbsent,
      enter: (options, work) => this.#enter(options, work),
    });
  }

  /** Nothing is open; the simulated control plane stays as it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
  }

  #organizationClient(): ControlCredential {
    if (this.#organization) return this.#organization;
    throw new BifrostError({
      code: 'CONTROL_CREDENTIALS_INVALID',
      message: "configure the organization's OAuth client (option organization)",
      issues: [{ path: 'organization', message: 'is needed' }],
    });
  }

  async #enter<T>({ signal }: CallOptions, work: () => T): Promise<T> {
    signal.throwIfAborted();
    await Promise.resolve(); // as over a network, an abort after the call finds it under way
    signal.throwIfAborted();
    if (this.#disposed) throw new BifrostError({ code: 'MANAGER_STOPPED', message: 'this control plane was disposed; make a new one' });
    const fault = this.#faults.shift();
    if (fault) throw new BifrostError({ ...fault, message: 'injected by failNext' });
    return work();
  }
}

interface TailnetInit {
  readonly control: SimulatedControl;
  readonly controlId: string | undefined;
  readonly signIn: () => SimulatedGrant;
  readonly isAbsent: () => boolean;
  readonly enter: <T>(options: CallOptions, work: () => T) => Promise<T>;
}

class MemoryTailnet implements TailnetControl {
  readonly #init: TailnetInit;
  constructor(init: TailnetInit) {
    this.#init = init;
  }

  async describe(options: CallOptions): Promise<{ readonly controlId: string; readonly dnsName: string | undefined }> {
    return this.#open({ scope: 'devices:core', access: 'read' }, options, (tailnet, grant) => {
      if (!this.#isNamed(tailnet)) throw new BifrostError({ code: 'CONTROL_NOT_FOUND', message: 'the client is of another tailnet' });
      this.#init.control.open(grant, 'auth_keys', 'read');
      return { controlId: tailnet.controlId, dnsName: tailnet.dnsName };
    });
  }

  createKey(request: KeyRequest, options: CallOptions): Promise<ControlKey & { readonly key: Secret }> {
    return this.#open({ scope: 'auth_keys', access: 'write' }, options, (tailnet, grant) => {
      const made = tailnet.createKey(request, grant.tags);
      return { ...toKey(made), key: made.key };
    });
  }

  listKeys(options: CallOptions): Promise<readonly ControlKey[]> {
    return this.#open({ scope: 'auth_keys', access: 'read' }, options, (tailnet) => tailnet.keys().map(toKey));
  }

  revokeKey(keyId: string, options: CallOptions): Promise<void> {
    return this.#open({ scope: 'auth_keys', access: 'write' }, options, (tailnet) => void tailnet.revokeKey(keyId));
  }

  listDevices(options: CallOptions): Promise<readonly Device[]> {
    return this.#open({ scope: 'devices:core', access: 'read' }, options, (tailnet) => tailnet.devices().map(toDevice));
  }

  findDevice(deviceId: string, options: CallOptions): Promise<Device | undefined> {
    return this.#open({ scope: 'devices:core', access: 'read' }, options, (tailnet) => {
      const device = tailnet.devices().find((each) => each.deviceId === deviceId);
      return device && toDevice(device);
    });
  }

  deleteDevice(deviceId: string, options: CallOptions): Promise<void> {
    return this.#open({ scope: 'devices:core', access: 'write' }, options, (tailnet) => void tailnet.deleteDevice(deviceId));
  }

  approveRoutes(deviceId: string, routes: readonly string[], options: CallOptions): Promise<void> {
    return this.#open({ scope: 'devices:routes', access: 'write' }, options, (tailnet) => {
      tailnet.changeDevice(deviceId, { enabledRoutes: [...routes] });
    });
  }

  readPolicy(options: CallOptions): Promise<{ readonly text: string; readonly etag: string }> {
    return this.#open({ scope: 'policy_file', access: 'read' }, options, (tailnet) => tailnet.policy());
  }

  writePolicy(text: string, etag: string, options: CallOptions): Promise<void> {
    return this.#open({ scope: 'policy_file', access: 'write' }, options, (tailnet) => tailnet.writePolicy(text, etag));
  }

  deleteTailnet(options: CallOptions): Promise<void> {
    const { control, signIn, isAbsent, enter } = this.#init;
    return enter(options, () => {
      try {
        const grant = signIn();
        if (grant.controlId === undefined || this.#isNamed(control.open(grant, 'all', 'write'))) control.deleteTailnet(grant);
      } catch (error) {
        // A deleted tailnet takes its client with it, so a refused client may mean "absent".
        const mayBeGone = BifrostError.is(error) && (error.code === 'CONTROL_CREDENTIALS_INVALID' || error.code === 'CONTROL_NOT_FOUND');
        if (!mayBeGone || !isAbsent()) throw error;
      }
    });
  }

  #isNamed({ controlId, dnsName }: SimulatedTailnet): boolean {
    return [undefined, '-', controlId, dnsName].includes(this.#init.controlId);
  }

  #open<T>(
    need: { readonly scope: string; readonly access: 'read' | 'write' },
    options: CallOptions,
    work: (tailnet: SimulatedTailnet, grant: SimulatedGrant) => T,
  ): Promise<T> {
    const { control, signIn, enter } = this.#init;
    return enter(options, () => {
      const grant = signIn();
      return work(control.open(grant, need.scope, need.access), grant);
    });
  }
}

const toKey = ({ keyId, description, tags, expiresAtMs, valid }: SimulatedKey): ControlKey => ({ keyId, description, tags, expiresAtMs, valid });

function toDevice({ tailnetId: _tailnet, keyId: _key, lastSeenAtMs, ...device }: SimulatedDevice): Device {
  return lastSeenAtMs === undefined ? device : { ...device, lastSeenAtMs };
}
