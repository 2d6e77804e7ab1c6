import { createHash } from 'node:crypto';
import { BifrostError, Secret } from '@bifrost/types/core';
import ipaddr from 'ipaddr.js';
import type { DeviceConnectivity } from '../../domain/policy/firewall-check.ts';
import type { ControlKey, Device, KeyRequest } from '../../ports/control-plane.ts';
import { autoApproved, badRequest, DEFAULT_POLICY, mayUseTag, parsePolicy, type SimulatedPolicy } from './simulated-policy.ts';

const LONGEST_KEY_SECONDS = 90 * 24 * 3_600;

/** A joined machine, as the simulated control plane knows it at this moment. */
export interface SimulatedDevice extends Device {
  readonly tailnetId: string;
  readonly keyId: string | undefined;
  /** Unix milliseconds; undefined while connected. */
  readonly lastSeenAtMs: number | undefined;
}

/** A key without its secret. */
export interface SimulatedKey extends ControlKey {
  readonly tailnetId: string;
  readonly reusable: boolean;
  readonly ephemeral: boolean;
  readonly createdAtMs: number;
  /** Devices that joined with it so far. */
  readonly uses: number;
}
type KeyRecord = { -readonly [Field in keyof SimulatedKey]: SimulatedKey[Field] } & { readonly secret: string };
type DeviceRecord = { -readonly [Field in keyof SimulatedDevice]: SimulatedDevice[Field] };

/** What a machine says of itself when it joins. */
export interface Joining {
  readonly hostname: string;
  readonly advertiseRoutes?: readonly string[];
}

/** What a tailnet needs of the control plane around it. */
export interface SimulatedSurroundings {
  readonly nowMs: () => number;
  /** A new id such as `k000001CNTRL`, never given twice. */
  readonly newId: (prefix: string) => string;
  /** A repeatable stand-in for random letters. */
  readonly newSecret: (prefix: string) => string;
  readonly changed: () => void;
  readonly ephemeralGraceMs: number;
}

const etagOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Keys, devices and policy of one simulated tailnet. */
export class SimulatedTailnet {
  readonly controlId: string;
  readonly displayName: string;
  readonly dnsName: string;
  readonly createdAtMs: number;
  /** True for tailnets of the organization, false for a customer's own. */
  readonly inOrganization: boolean;
  readonly #around: SimulatedSurroundings;
  readonly #number: number;
  readonly #keys = new Map<string, KeyRecord>();
  readonly #devices = new Map<string, DeviceRecord>();
  #joined = 0;
  #policyText = DEFAULT_POLICY;
  #policy: SimulatedPolicy = parsePolicy(DEFAULT_POLICY);
  #policyTouched = false;

  constructor(init: { controlId: string; displayName: string; number: number; inOrganization: boolean; around: SimulatedSurroundings }) {
    this.controlId = init.controlId;
    this.displayName = init.displayName;
    this.inOrganization = init.inOrganization;
    this.#around = init.around;
    this.#number = init.number;
    this.dnsName = `tail${(0x1000 + init.number).toString(16)}.ts.net`;
    this.createdAtMs = init.around.nowMs();
  }

  /** `holderTags`: tags of the OAuth client that asks. */
  createKey(request: Partial<KeyRequest>, holderTags: readonly string[]): SimulatedKey & { readonly key: Secret } {
    const { description = '', tags = [], reusable = false, ephemeral = false, lifetimeSeconds = LONGEST_KEY_SECONDS } = request;
    if (!/^[A-Za-z0-9 -]{0,50}$/.test(description)) throw badRequest('description: at most 50 letters, digits, hyphens and spaces');
    if (tags.length === 0) throw badRequest('keys made with an OAuth client must have tags');
    const foreign = tags.filter((tag) => !mayUseTag(this.#policy, tag, holderTags));
    if (foreign.length > 0) throw badRequest(`requested tags [${foreign.join(' ')}] are invalid or not permitted`);
    if (!Number.isInteger(lifetimeSeconds) || lifetimeSeconds < 1 || lifetimeSeconds > LONGEST_KEY_SECONDS) {
      throw badRequest(`expirySeconds: 1 to ${LONGEST_KEY_SECONDS}`);
    }
    const keyId = this.#around.newId('k');
    const createdAtMs = this.#around.nowMs();
    const secret = this.#around.newSecret(`tskey-auth-${keyId}-`);
    const known = { keyId, tailnetId: this.controlId, description, tags: [...tags], reusable, ephemeral, createdAtMs, uses: 0, valid: true };
    const record: KeyRecord = { ...known, expiresAtMs: createdAtMs + lifetimeSeconds * 1_000, secret };
    this.#keys.set(keyId, record);
    this.#around.changed();
    return { ...this.#toKey(record), key: new Secret(secret) };
  }

  /** Keys that are not revoked. */
  keys(): readonly SimulatedKey[] {
    return [...this.#keys.values()].map((record) => this.#toKey(record));
  }

  /** False when there is no such key. */
  revokeKey(keyId: string): boolean {
    const removed = this.#keys.delete(keyId);
    if (removed) this.#around.changed();
    return removed;
  }

  holdsKey(secret: string): boolean {
    return this.#findKey(secret) !== undefined;
  }

  /** @throws {BifrostError} `CONTROL_DENIED` with `details.reason` — `unknown`, `expired` or `used` */
  join(secret: string, joining: Joining): SimulatedDevice {
    const key = this.#findKey(secret);
    const reason =
      key === undefined ? 'unknown' : key.expiresAtMs <= this.#around.nowMs() ? 'expired' : !key.reusable && key.uses > 0 ? 'used' : undefined;
    if (key === undefined || reason !== undefined) throw joinRefused(reason ?? 'unknown');
    key.uses += 1;
    return this.addDevice({ ...joining, tags: key.tags, ephemeral: key.ephemeral, keyId: key.keyId });
  }

  addDevice(
    init: Joining & { tags?: readonly string[]; ephemeral?: boolean; keyId?: string; enabledRoutes?: readonly string[]; connected?: boolean },
  ): SimulatedDevice {
    const routes = init.advertiseRoutes ?? [];
    if (!routes.every((route) => ipaddr.isValidCIDR(route))) throw badRequest('advertiseRoutes: CIDRs are expected');
    const tags = init.tags ?? [];
    this.#joined += 1;
    const [high, low] = [this.#joined >> 8, this.#joined & 255];
    const v4 = `100.${64 + (this.#number % 63)}.${high}.${low}`;
    const record: DeviceRecord = {
      deviceId: this.#around.newId('n'),
      tailnetId: this.controlId,
      keyId: init.keyId,
      hostname: init.hostname,
      name: this.#freeName(init.hostname),
      addresses: [v4, `fd7a:115c:a1e0::${(64 + (this.#number % 63)).toString(16)}:${this.#joined.toString(16)}`],
      tags: [...tags],
      ephemeral: init.ephemeral ?? false,
      connected: init.connected ?? true,
      createdAtMs: this.#around.nowMs(),
      advertisedRoutes: [...routes],
      enabledRoutes: [...(init.enabledRoutes ?? autoApproved(this.#policy, routes, tags))],
      lastSeenAtMs: init.connected === false ? this.#around.nowMs() : undefined,
    };
    this.#devices.set(record.deviceId, record);
    this.#around.changed();
    return { ...record };
  }

  /** Devices now; ephemeral ones that were away too long are gone. */
  devices(): readonly SimulatedDevice[] {
    const oldest = this.#around.nowMs() - this.#around.ephemeralGraceMs;
    for (const { deviceId, ephemeral, lastSeenAtMs } of this.#devices.values()) {
      if (ephemeral && lastSeenAtMs !== undefined && lastSeenAtMs <= oldest) this.#devices.delete(deviceId);
    }
    return [...this.#devices.values()].map((record) => ({ ...record }));
  }

  /** False when there is no such device. */
  deleteDevice(deviceId: string): boolean {
    const removed = this.#devices.delete(deviceId);
    if (removed) this.#around.changed();
    return removed;
  }

  /** Changes a device. @throws {BifrostError} `CONTROL_NOT_FOUND` */
  changeDevice(
    deviceId: string,
    change: { connected?: boolean; enabledRoutes?: readonly string[]; advertisedRoutes?: readonly string[]; connectivity?: DeviceConnectivity },
  ): SimulatedDevice {
    const record = this.#devices.get(deviceId);
    if (!record) throw new BifrostError({ code: 'CONTROL_NOT_FOUND', message: 'no such device' });
    const routes = [...(change.enabledRoutes ?? []), ...(change.advertisedRoutes ?? [])];
    if (!routes.every((route) => ipaddr.isValidCIDR(route))) throw badRequest('routes: CIDRs are expected');
    Object.assign(record, change);
    if (change.connected !== undefined) record.lastSeenAtMs = change.connected ? undefined : this.#around.nowMs();
    this.#around.changed();
    return { ...record };
  }

  policy(): { readonly text: string; readonly etag: string } {
    return { text: this.#policyText, etag: etagOf(this.#policyText) };
  }

  /** @throws {BifrostError} `CONTROL_CONFLICT` with status 412 — another etag now; `POLICY_REFUSED` — not a policy that it takes */
  writePolicy(text: string, etag: string | undefined): void {
    const matches = etag === undefined || etag === etagOf(this.#policyText) || (etag === 'ts-default' && !this.#policyTouched);
    if (!matches) throw new BifrostError({ code: 'CONTROL_CONFLICT', message: 'precondition failed, invalid old hash', details: { status: '412' } });
    this.#policy = parsePolicy(text, this.devices());
    this.#policyText = text;
    this.#policyTouched = true;
    this.#around.changed();
  }

  #findKey(secret: string): KeyRecord | undefined {
    return [...this.#keys.values()].find((record) => record.secret === secret);
  }

  #toKey({ secret: _, ...record }: KeyRecord): SimulatedKey {
    return { ...record, valid: record.expiresAtMs > this.#around.nowMs() && (record.reusable || record.uses === 0) };
  }

  /** The hostname as a DNS label, with -1, -2, ... when taken. */
  #freeName(hostname: string): string {
    const label = hostname
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 60);
    const taken = new Set(this.devices().map(({ name }) => name));
    for (let suffix = 0; ; suffix += 1) {
      const name = `${label || 'device'}${suffix === 0 ? '' : `-${suffix}`}.${this.dnsName}`;
      if (!taken.has(name)) return name;
    }
  }
}

/** What a machine is told whose key does not let it in. */
export function joinRefused(reason: 'unknown' | 'expired' | 'used'): BifrostError {
  return new BifrostError({ code: 'CONTROL_DENIED', message: `invalid key: ${reason}; ask for a new one`, details: { reason } });
}
