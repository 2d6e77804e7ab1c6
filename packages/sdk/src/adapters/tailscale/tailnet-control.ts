import { BifrostError, Secret } from '@bifrost/types/core';
import { UNTOLD_CONTROL_ID } from '../../domain/names.ts';
import type { DeviceConnectivity } from '../../domain/policy/firewall-check.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ControlKey, Device, KeyRequest, TailnetControl } from '../../ports/control-plane.ts';
import type { CallOptions } from '../../ports/store.ts';
import { expectNothing, expectPolicy, readJson, readPolicyText } from './answers.ts';
import { type ConnectivityAnswer, DeviceAnswer, DevicesAnswer, type KeyAnswer, KeysAnswer, NewKeyAnswer, RoutesAnswer } from './schemas.ts';
import type { ApiSession } from './session.ts';
import type { ApiAnswer, ApiRequest } from './transport.ts';

type Reader<T> = (request: ApiRequest, answer: ApiAnswer) => T;

const JSON_BODY = { 'content-type': 'application/json' };
const HUJSON_BODY = { accept: 'application/hujson', 'content-type': 'application/hujson' };

/** Asks the organization about a tailnet whose own client is refused: undefined when it is gone, else the organization's way into it. */
export type Recover = (options: CallOptions) => Promise<ApiSession | undefined>;

/** One tailnet through API v2. `-` in a path is the tailnet that the token belongs to. */
export class TailscaleTailnet implements TailnetControl {
  readonly #session: () => ApiSession;
  readonly #clock: Clock;
  readonly #controlId: string | undefined;

  readonly #recover: Recover | undefined;

  /** `session` may throw: a tailnet without any credential is found out by the first call. */
  constructor(init: { session: () => ApiSession; clock: Clock; controlId: string | undefined; recover: Recover | undefined }) {
    this.#session = init.session;
    this.#recover = init.recover;
    this.#clock = init.clock;
    this.#controlId = init.controlId;
  }

  /**
   * The API has no call that names a credential's own tailnet. Listing devices and keys proves both scopes that every credential needs, and, under a
   * given control id, that the credential is that tailnet's; the DNS name is the tail of any device's name. `controlId` is the one that we were given,
   * else the DNS name (API v2 takes it in its place), else, while the tailnet has no device, `-`: the API's own word for the credential's tailnet.
   */
  async describe(options: CallOptions): Promise<{ readonly controlId: string; readonly dnsName: string | undefined }> {
    // A DNS name may be changed by its owner; an id is for good.
    const id = this.#controlId?.includes('.') ? UNTOLD_CONTROL_ID : (this.#controlId ?? UNTOLD_CONTROL_ID);
    const path = `/tailnet/${encodeURIComponent(id)}/devices`;
    const { devices } = await this.#get(
      { operation: 'tailnets.describe', action: 'describing the tailnet', scope: 'devices:core', path },
      DevicesAnswer,
      options,
    );
    await this.#listKeys(options);
    const own = devices.find(({ isExternal, name }) => isExternal !== true && name.includes('.'));
    const dnsName = own?.name.replace(/^[^.]*\./, '').replace(/\.$/, '');
    const given = this.#controlId === UNTOLD_CONTROL_ID ? undefined : this.#controlId;
    return { controlId: given ?? dnsName ?? UNTOLD_CONTROL_ID, dnsName };
  }

  async createKey(request: KeyRequest, options: CallOptions): Promise<ControlKey & { readonly key: Secret }> {
    const { description, tags, reusable, ephemeral, lifetimeSeconds } = request;
    const capabilities = { devices: { create: { reusable, ephemeral, preauthorized: true, tags } } };
    const made = await this.#call(
      {
        operation: 'keys.create',
        action: 'creating an auth key',
        scope: 'auth_keys',
        method: 'POST',
        path: '/tailnet/-/keys',
        headers: JSON_BODY,
        body: JSON.stringify({ keyType: 'auth', description, capabilities, expirySeconds: lifetimeSeconds }),
      },
      (sent, answer) => readJson(sent, answer, NewKeyAnswer),
      options,
    );
    return { ...this.#toKey(made), key: new Secret(made.key) };
  }

  async listKeys(options: CallOptions): Promise<readonly ControlKey[]> {
    const keys = await this.#listKeys(options);
    return keys.filter((key) => (key.keyType ?? 'auth') === 'auth' && key.revoked === undefined).map((key) => this.#toKey(key));
  }

  async revokeKey(keyId: string, options: CallOptions): Promise<void> {
    await this.#remove(
      { operation: 'keys.revoke', action: 'revoking an auth key', scope: 'auth_keys', path: `/tailnet/-/keys/${encodeURIComponent(keyId)}` },
      options,
    );
  }

  async listDevices(options: CallOptions): Promise<readonly Device[]> {
    const request = { operation: 'devices.list', action: 'listing devices', scope: 'devices:core', path: '/tailnet/-/devices?fields=all' } as const;
    const { devices } = await this.#get(request, DevicesAnswer, options);
    // Devices shared in from elsewhere belong to another tailnet and cannot be deleted here.
    return devices.filter(({ isExternal }) => isExternal !== true).map(toDevice);
  }

  async findDevice(deviceId: string, options: CallOptions): Promise<Device | undefined> {
    const path = `/device/${encodeURIComponent(deviceId)}?fields=all`;
    const request = { operation: 'devices.get', action: 'reading a device', scope: 'devices:core', path } as const;
    const device = await unlessAbsent(this.#get(request, DeviceAnswer, options));
    return device === undefined || device.isExternal === true ? undefined : toDevice(device);
  }

  async deleteDevice(deviceId: string, options: CallOptions): Promise<void> {
    await this.#remove(
      { operation: 'devices.delete', action: 'deleting a device', scope: 'devices:core', path: `/device/${encodeURIComponent(deviceId)}` },
      options,
    );
  }

  async approveRoutes(deviceId: string, routes: readonly string[], options: CallOptions): Promise<void> {
    const path = `/device/${encodeURIComponent(deviceId)}/routes`;
    await this.#call(
      {
        operation: 'routes.approve',
        action: 'approving routes',
        scope: 'devices:routes',
        method: 'POST',
        path,
        headers: JSON_BODY,
        body: JSON.stringify({ routes }),
      },
      (sent, answer) => readJson(sent, answer, RoutesAnswer),
      options,
    );
  }

  async readPolicy(options: CallOptions): Promise<{ readonly text: string; readonly etag: string }> {
    const headers = { accept: 'application/hujson' };
    return this.#call(
      { operation: 'policy.read', action: 'reading the policy', scope: 'policy_file', method: 'GET', path: '/tailnet/-/acl', headers },
      readPolicyText,
      options,
    );
  }

  async writePolicy(text: string, etag: string, options: CallOptions): Promise<void> {
    // Without a match the policy would be overwritten blindly, so an etag that no server gave is a conflict.
    if (!/^(W\/"[\x21\x23-\x7e]+"|[\x21\x23-\x7e]+)$/.test(etag)) {
      throw new BifrostError({ code: 'CONTROL_CONFLICT', message: 'the etag is not one that readPolicy gave; read the policy again' });
    }
    const headers = { ...HUJSON_BODY, 'if-match': etag.startsWith('W/') ? etag : `"${etag}"` };
    const request: ApiRequest = {
      operation: 'policy.write',
      action: 'writing the policy',
      scope: 'policy_file',
      method: 'POST',
      path: '/tailnet/-/acl',
      headers,
      body: text,
    };
    await this.#call(request, expectPolicy, options);
  }

  /** A deleted tailnet takes its client with it, so a refused client may mean "absent": the organization is asked. */
  async deleteTailnet(options: CallOptions): Promise<void> {
    const path = `/tailnet/${encodeURIComponent(this.#controlId ?? UNTOLD_CONTROL_ID)}`;
    const request: ApiRequest = { operation: 'tailnets.delete', action: 'deleting the tailnet', scope: 'all', method: 'DELETE', path };
    try {
      await this.#remove(request, options);
    } catch (error) {
      if (!BifrostError.is(error) || error.code !== 'CONTROL_CREDENTIALS_INVALID' || !this.#recover) throw error;
      const way = await this.#recover(options);
      if (way) await unlessAbsent(way.call(request, expectNothing, options));
    }
  }

  async #listKeys(options: CallOptions): Promise<readonly KeyAnswer[]> {
    // Without all=true an OAuth token is shown OAuth clients only.
    const { keys } = await this.#get(
      { operation: 'keys.list', action: 'listing auth keys', scope: 'auth_keys', path: '/tailnet/-/keys?all=true' },
      KeysAnswer,
      options,
    );
    return keys;
  }

  #get<T>(request: Omit<ApiRequest, 'method'>, schema: Parameters<typeof readJson<T>>[2], options: CallOptions): Promise<T> {
    return this.#call({ ...request, method: 'GET' }, (sent, answer) => readJson(sent, answer, schema), options);
  }

  async #remove(request: Omit<ApiRequest, 'method'>, options: CallOptions): Promise<void> {
    await unlessAbsent(this.#call({ ...request, method: 'DELETE' }, expectNothing, options));
  }

  async #call<T>(request: ApiRequest, read: Reader<T>, options: CallOptions): Promise<T> {
    options.signal.throwIfAborted();
    return this.#session().call(request, read, options);
  }

  #toKey(key: KeyAnswer): ControlKey {
    const expiresAtMs = key.expires ?? 0;
    return {
      keyId: key.id,
      description: key.description ?? '',
      tags: key.capabilities?.devices?.create?.tags ?? [],
      expiresAtMs,
      valid: key.invalid !== true && key.revoked === undefined && expiresAtMs > this.#clock.nowMs(),
    };
  }
}

/** Undefined: what it is about is not there. To a removal that is success. */
async function unlessAbsent<Answer>(call: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await call;
  } catch (error) {
    if (!BifrostError.is(error) || error.code !== 'CONTROL_NOT_FOUND') throw error;
    return undefined;
  }
}

function toDevice(device: DeviceAnswer): Device {
  const connected = device.connectedToControl ?? !device.lastSeen;
  const lastSeenAtMs = Date.parse(device.lastSeen ?? '');
  return {
    deviceId: device.nodeId,
    hostname: device.hostname,
    name: device.name.replace(/\.$/, ''),
    addresses: device.addresses,
    tags: device.tags,
    ephemeral: device.isEphemeral ?? false,
    connected,
    ...(connected || !(lastSeenAtMs > 0) ? {} : { lastSeenAtMs }),
    createdAtMs: device.created ?? 0,
    advertisedRoutes: device.advertisedRoutes,
    enabledRoutes: device.enabledRoutes,
    ...(device.clientConnectivity ? { connectivity: toConnectivity(device.clientConnectivity) } : {}),
  };
}

const toConnectivity = ({ latency, clientSupports, mappingVariesByDestIP }: ConnectivityAnswer): DeviceConnectivity => ({
  regions: Object.entries(latency ?? {}).map(([name, { latencyMs, preferred }]) => ({ name, latencyMs, isHome: preferred === true })),
  udp: clientSupports?.udp,
  ipv6: clientSupports?.ipv6,
  mappingVaries: mappingVariesByDestIP,
});
