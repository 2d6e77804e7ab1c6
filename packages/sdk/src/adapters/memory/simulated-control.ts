import { createHash } from 'node:crypto';
import { BifrostError, Secret } from '@bifrost/types/core';
import type { DeviceConnectivity } from '../../domain/policy/firewall-check.ts';
import type { Relay } from '../../domain/policy/relays.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ControlCredential, ControlTailnet } from '../../ports/control-plane.ts';
import { badRequest } from './simulated-policy.ts';
import {
  type Joining,
  joinRefused,
  type SimulatedDevice,
  type SimulatedKey,
  type SimulatedSurroundings,
  SimulatedTailnet,
} from './simulated-tailnet.ts';

/** Settings of {@link SimulatedControl}. */
export interface SimulatedControlOptions {
  /** @default the system's clock */
  readonly clock?: Pick<Clock, 'nowMs'>;
  /** Tailnets of the organization, the original one included. @default 10 */
  readonly tailnetLimit?: number;
  /** Milliseconds after which an ephemeral device that is away is forgotten. @default 1800000 */
  readonly ephemeralGraceMs?: number;
  /** What the control plane gives to all tailnets. @default two regions, of three relays */
  readonly relays?: readonly Relay[];
}

const RELAYS: readonly Relay[] = [
  {
    regionId: 1,
    region: 'one',
    regionName: 'Region One',
    host: 'derp1a.example',
    addresses: ['192.0.2.11', '2001:db8::11'],
    port: 443,
    stunPort: 3478,
  },
  { regionId: 1, region: 'one', regionName: 'Region One', host: 'stun1b.example', addresses: ['192.0.2.12'], port: undefined, stunPort: 3479 },
  { regionId: 2, region: 'two', regionName: 'Region Two', host: 'derp2a.example', addresses: [], port: 8443, stunPort: undefined },
];

/** What a signed-in client may do: in the organization (no `controlId`), or in one tailnet. */
export interface SimulatedGrant {
  readonly clientId: string;
  readonly controlId: string | undefined;
  readonly scopes: readonly string[];
  /** Tags that the client carries. */
  readonly tags: readonly string[];
}
interface Client extends SimulatedGrant {
  readonly secret: string;
}

/** A customer's own tailnet: not in our organization, with an OAuth client that the customer made for us. */
export interface CustomerTailnet {
  readonly controlId: string;
  readonly dnsName: string;
  readonly credential: ControlCredential;
}

const refusedClient = (message: string): BifrostError =>
  new BifrostError({ code: 'CONTROL_CREDENTIALS_INVALID', message, issues: [{ path: 'credential.secretName', message: 'is refused' }] });

const CUSTOMER_SCOPES = ['auth_keys', 'devices:core', 'devices:routes', 'policy_file'];

/**
 * The state of a control plane, in memory and repeatable: an organization with its tailnets and its cap, customers' own tailnets, OAuth clients with scopes,
 * keys, devices, routes and policies. {@link MemoryControlPlane} speaks to it directly, `TailscaleApiSimulator` over HTTP; `join` and its neighbours are the
 * machines' side. What the counting methods give is the state itself at that moment. Refusals are {@link BifrostError}s.
 */
export class SimulatedControl {
  /** The organization's own OAuth client. */
  readonly organization: ControlCredential;
  /** See {@link SimulatedControlOptions}. */
  readonly relays: readonly Relay[];
  readonly #tailnetLimit: number;
  readonly #around: SimulatedSurroundings;
  readonly #tailnets = new Map<string, SimulatedTailnet>();
  readonly #clients = new Map<string, Client>();
  readonly #listeners = new Set<() => void>();
  #serial = 0;
  #tailnetSerial = 0;

  constructor(options: SimulatedControlOptions = {}) {
    const clock = options.clock ?? { nowMs: () => Date.now() };
    this.relays = options.relays ?? RELAYS;
    this.#tailnetLimit = options.tailnetLimit ?? 10;
    this.#around = {
      nowMs: () => clock.nowMs(),
      newId: (prefix) => `${prefix}${String(this.#next()).padStart(6, '0')}CNTRL`,
      newSecret: (prefix) => prefix + createHash('sha256').update(`${prefix}${this.#next()}`).digest('hex').slice(0, 32),
      changed: () => {
        for (const listener of this.#listeners) listener();
      },
      ephemeralGraceMs: options.ephemeralGraceMs ?? 1_800_000,
    };
    this.organization = this.#newClient({ controlId: undefined, scopes: ['all'], tags: [] });
  }

  // The management side: what a control plane's API offers.

  /** Signs a client in; `controlId` lets the organization's client into one of its tailnets. @throws {BifrostError} `CONTROL_CREDENTIALS_INVALID`, `CONTROL_NOT_FOUND` */
  signIn(credential: ControlCredential, controlId?: string): SimulatedGrant {
    const client = this.#clients.get(credential.clientId);
    if (client === undefined || client.secret !== credential.clientSecret.reveal()) {
      throw refusedClient('no such OAuth client');
    }
    const { secret: _, ...grant } = client;
    if (controlId === undefined || controlId === grant.controlId) return grant;
    const isOurs = grant.controlId === undefined && this.#tailnets.get(controlId)?.inOrganization === true;
    if (!isOurs) throw new BifrostError({ code: 'CONTROL_NOT_FOUND', message: 'no such tailnet' });
    return { ...grant, controlId };
  }

  /** False once the client is revoked or its tailnet deleted: its tokens are dead then. */
  isAlive(grant: SimulatedGrant): boolean {
    return this.#clients.has(grant.clientId) && (grant.controlId === undefined || this.#tailnets.has(grant.controlId));
  }

  /** The grant's tailnet, if the grant covers `scope`. @throws {BifrostError} `CONTROL_CREDENTIALS_INVALID`, `CONTROL_DENIED`, `CONTROL_NOT_FOUND` (the organization has none) */
  open(grant: SimulatedGrant, scope: string, access: 'read' | 'write'): SimulatedTailnet {
    if (!this.isAlive(grant)) throw refusedClient('this client is revoked');
    const fitting = access === 'read' ? [scope, `${scope}:read`, 'all', 'all:read'] : [scope, 'all'];
    if (!grant.scopes.some((held) => fitting.includes(held)))
      throw new BifrostError({ code: 'CONTROL_DENIED', message: `the client lacks the scope ${scope}` });
    const tailnet = grant.controlId === undefined ? undefined : this.#tailnets.get(grant.controlId);
    if (tailnet === undefined) throw new BifrostError({ code: 'CONTROL_NOT_FOUND', message: 'no such tailnet' });
    return tailnet;
  }

  /** @throws {BifrostError} `CONTROL_DENIED`, `CONTROL_QUOTA`, `CONTROL_CONFLICT` */
  createTailnet(grant: SimulatedGrant, displayName: string): ControlTailnet & CustomerTailnet {
    this.#requireOrganization(grant, 'actor does not have permission to create tailnets');
    if (!/^[A-Za-z0-9 '-]{1,100}$/.test(displayName)) throw badRequest('displayName: letters, digits, spaces, apostrophes and hyphens');
    const ours = [...this.#tailnets.values()].filter(({ inOrganization }) => inOrganization);
    if (ours.some((tailnet) => tailnet.displayName === displayName))
      throw new BifrostError({ code: 'CONTROL_CONFLICT', message: 'the display name is taken' });
    if (ours.length + 1 >= this.#tailnetLimit) throw new BifrostError({ code: 'CONTROL_QUOTA', message: 'the organization is full' });
    const tailnet = this.#newTailnet(displayName, true);
    const credential = this.#newClient({ controlId: tailnet.controlId, scopes: ['all'], tags: [] });
    this.#around.changed();
    return { controlId: tailnet.controlId, displayName, dnsName: tailnet.dnsName, credential };
  }

  /** The organization's tailnets. @throws {BifrostError} `CONTROL_DENIED` */
  listTailnets(grant: SimulatedGrant): readonly SimulatedTailnet[] {
    this.#requireOrganization(grant, 'actor does not have permission to list tailnets');
    return [...this.#tailnets.values()].filter(({ inOrganization }) => inOrganization);
  }

  /** Deletes the grant's own tailnet. @throws {BifrostError} `CONTROL_DENIED` — the organization's client is no member of it; `CONTROL_NOT_FOUND` */
  deleteTailnet(grant: SimulatedGrant): void {
    if (grant.controlId === undefined) throw new BifrostError({ code: 'CONTROL_DENIED', message: 'actor is not a member of the tailnet' });
    const { controlId } = this.open(grant, 'all', 'write');
    this.#tailnets.delete(controlId);
    for (const client of this.#clients.values()) if (client.controlId === controlId) this.#clients.delete(client.clientId);
    this.#around.changed();
  }

  // The machines' side.

  /** A machine joins the tailnet that its key is of. @throws {BifrostError} `CONTROL_DENIED` with `details.reason`: `unknown` (or revoked), `expired`, `used` */
  join(joining: Joining & { readonly authKey: Secret | string }): SimulatedDevice {
    const secret = typeof joining.authKey === 'string' ? joining.authKey : joining.authKey.reveal();
    const tailnet = [...this.#tailnets.values()].find((candidate) => candidate.holdsKey(secret));
    if (tailnet === undefined) throw joinRefused('unknown');
    return tailnet.join(secret, joining);
  }

  /** The machine lost, or found, its way to the control plane. @throws {BifrostError} `CONTROL_NOT_FOUND` */
  setConnected(deviceId: string, connected: boolean): SimulatedDevice {
    return this.#tailnetOf(deviceId).changeDevice(deviceId, { connected });
  }

  /** What the machine has found out about its own way to the Internet. @throws {BifrostError} `CONTROL_NOT_FOUND` */
  setConnectivity(deviceId: string, connectivity: DeviceConnectivity): SimulatedDevice {
    return this.#tailnetOf(deviceId).changeDevice(deviceId, { connectivity });
  }

  /** The machine logs out. Absent is success. */
  leave(deviceId: string): void {
    for (const tailnet of this.#tailnets.values()) tailnet.deleteDevice(deviceId);
  }

  /** The device now, or undefined when it was deleted. */
  device(deviceId: string): SimulatedDevice | undefined {
    return this.devices().find((device) => device.deviceId === deviceId);
  }

  /** The other devices of its tailnet: what its network map shows. @throws {BifrostError} `CONTROL_NOT_FOUND` */
  peersOf(deviceId: string): readonly SimulatedDevice[] {
    return this.#tailnetOf(deviceId)
      .devices()
      .filter((device) => device.deviceId !== deviceId);
  }

  /**
   * A tailnet that a customer owns, outside our organization, with the OAuth client that the customer made for us.
   * `tags` are the client's; the policy is written to own them by. @default scopes of a minimal client, `tags` `['tag:bifrost']`
   */
  addTailnet(init: { displayName: string; scopes?: readonly string[]; tags?: readonly string[]; policy?: string }): CustomerTailnet {
    const { displayName, scopes = CUSTOMER_SCOPES, tags = ['tag:bifrost'] } = init;
    const tailnet = this.#newTailnet(displayName, false);
    const tagOwners = Object.fromEntries(tags.map((tag) => [tag, ['autogroup:admin']]));
    tailnet.writePolicy(init.policy ?? JSON.stringify({ tagOwners, grants: [{ src: ['*'], dst: ['*'], ip: ['*'] }] }), undefined);
    const credential = this.#newClient({ controlId: tailnet.controlId, scopes, tags });
    return { controlId: tailnet.controlId, dnsName: tailnet.dnsName, credential };
  }

  /** A machine of the customer's own, joined without a key of ours: a gateway, by its routes. Routes are approved unless `enabledRoutes` says otherwise. @throws {BifrostError} `CONTROL_NOT_FOUND` */
  addDevice(
    init: Joining & { controlId: string; tags?: readonly string[]; enabledRoutes?: readonly string[]; connected?: boolean },
  ): SimulatedDevice {
    const tailnet = this.#tailnets.get(init.controlId);
    if (tailnet === undefined) throw new BifrostError({ code: 'CONTROL_NOT_FOUND', message: 'no such tailnet' });
    return tailnet.addDevice({ ...init, enabledRoutes: init.enabledRoutes ?? init.advertiseRoutes ?? [] });
  }

  /** Gives the clients of a tailnet other scopes, as if new ones had been made in their place. */
  changeScopes(controlId: string, scopes: readonly string[]): void {
    for (const client of this.#clients.values()) if (client.controlId === controlId) this.#clients.set(client.clientId, { ...client, scopes });
  }

  /** Takes a client's rights away: its tokens die and it cannot sign in. */
  revokeClient(clientId: string): void {
    this.#clients.delete(clientId);
  }

  // Reading back.

  /** Devices of one tailnet, or of all. */
  devices(controlId?: string): readonly SimulatedDevice[] {
    return this.#chosen(controlId).flatMap((tailnet) => tailnet.devices());
  }

  /** Keys that are not revoked, of one tailnet, or of all. */
  keys(controlId?: string): readonly SimulatedKey[] {
    return this.#chosen(controlId).flatMap((tailnet) => tailnet.keys());
  }

  /** All tailnets: the organization's and the customers'. */
  tailnets(): readonly (ControlTailnet & { readonly dnsName: string; readonly inOrganization: boolean })[] {
    return this.#chosen(undefined).map(({ controlId, displayName, dnsName, inOrganization }) => ({
      controlId,
      displayName,
      dnsName,
      inOrganization,
    }));
  }

  /** Calls `listener` after each change, synchronously; what changed is to be read back. */
  subscribe(listener: () => void): Disposable {
    const own = () => listener();
    this.#listeners.add(own);
    return { [Symbol.dispose]: () => void this.#listeners.delete(own) };
  }

  #next(): number {
    this.#serial += 1;
    return this.#serial;
  }

  #chosen(controlId: string | undefined): readonly SimulatedTailnet[] {
    return [...this.#tailnets.values()].filter((tailnet) => controlId === undefined || tailnet.controlId === controlId);
  }

  #tailnetOf(deviceId: string): SimulatedTailnet {
    const tailnet = this.#chosen(undefined).find((candidate) => candidate.devices().some((device) => device.deviceId === deviceId));
    if (tailnet === undefined) throw new BifrostError({ code: 'CONTROL_NOT_FOUND', message: 'no such device' });
    return tailnet;
  }

  #requireOrganization(grant: SimulatedGrant, message: string): void {
    if (!this.isAlive(grant)) throw refusedClient('this client is revoked');
    if (grant.controlId !== undefined) throw new BifrostError({ code: 'CONTROL_DENIED', message });
  }

  #newTailnet(displayName: string, inOrganization: boolean): SimulatedTailnet {
    this.#tailnetSerial += 1;
    const init = { controlId: this.#around.newId('T'), displayName, number: this.#tailnetSerial, inOrganization, around: this.#around };
    const tailnet = new SimulatedTailnet(init);
    this.#tailnets.set(tailnet.controlId, tailnet);
    return tailnet;
  }

  #newClient(grant: Omit<SimulatedGrant, 'clientId'>): ControlCredential {
    const clientId = this.#around.newId('c');
    const secret = this.#around.newSecret(`tskey-client-${clientId}-`);
    this.#clients.set(clientId, { ...grant, clientId, secret });
    return { clientId, clientSecret: new Secret(secret) };
  }
}
