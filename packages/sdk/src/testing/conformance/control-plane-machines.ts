import { expect } from 'vitest';
import type { Device } from '../../ports/control-plane.ts';
import { KEY, POLICY, ROUTE, type Run, TAG, type Test } from './control-plane-support.ts';

const refusedJoin = async (joining: Promise<unknown> | undefined): Promise<boolean> => {
  try {
    await joining;
    return false;
  } catch {
    return true;
  }
};

/** What a machine finds out about its way it tells whenever it knows: between two questions, too. */
const withoutConnectivity = (device: Device | undefined): object | undefined => device && { ...device, connectivity: undefined };

export function machineCases(run: Run, withJoin: Test): void {
  withJoin(
    'P11: a machine that joins is a device; deleting it is idempotent',
    run(async ({ plane, admin, options, make }) => {
      const { control, credential, dnsName } = await make();
      await control.writePolicy(POLICY, 'ts-default', options);
      const { key } = await control.createKey(KEY, options);
      const joined = await admin.join?.({ authKey: key, hostname: 'book' });
      const [device, ...others] = await control.listDevices(options);
      expect(others).toEqual([]);
      expect(device).toMatchObject({
        deviceId: joined?.deviceId,
        hostname: 'book',
        name: `book.${dnsName}`,
        tags: [TAG],
        ephemeral: true,
        connected: true,
      });
      expect(device?.addresses).toEqual(joined?.addresses);
      expect(withoutConnectivity(await control.findDevice(joined?.deviceId ?? '', options))).toEqual(withoutConnectivity(device));
      expect((await control.describe(options)).dnsName).toBe(dnsName);
      // It can be told now, though it could not be before.
      expect((await plane.tailnet({ credential, controlId: '-' }).describe(options)).controlId).not.toBe('-');
      await control.deleteDevice(device?.deviceId ?? '', options);
      await control.deleteDevice(device?.deviceId ?? '', options);
      expect(await control.listDevices(options)).toEqual([]);
      expect(await control.findDevice(device?.deviceId ?? '', options)).toBeUndefined();
    }),
  );
  withJoin(
    'P12: a single-use key lets one machine in, a reusable one several, a revoked one none; who joined stays',
    run(async ({ admin, options, make }) => {
      const { control, dnsName } = await make();
      await control.writePolicy(POLICY, 'ts-default', options);
      const once = await control.createKey(KEY, options);
      await admin.join?.({ authKey: once.key, hostname: 'once' });
      expect(await refusedJoin(admin.join?.({ authKey: once.key, hostname: 'again' }))).toBe(true);
      expect((await control.listKeys(options)).filter(({ valid }) => valid)).toEqual([]);
      const many = await control.createKey({ ...KEY, reusable: true }, options);
      await admin.join?.({ authKey: many.key, hostname: 'many' });
      await admin.join?.({ authKey: many.key, hostname: 'many' });
      await control.revokeKey(many.keyId, options);
      expect(await refusedJoin(admin.join?.({ authKey: many.key, hostname: 'late' }))).toBe(true);
      const names = (await control.listDevices(options)).map(({ name }) => name).sort();
      expect(names).toEqual([`many-1.${dnsName}`, `many.${dnsName}`, `once.${dnsName}`]);
    }),
  );
}

export function connectivityCases(run: Run, withJoin: Test): void {
  withJoin(
    'P27: a machine tells what it found out about its way to the Internet: UDP works here, and a region’s STUN answers',
    run(async ({ plane, admin, options, make }) => {
      const { control } = await make();
      await control.writePolicy(POLICY, 'ts-default', options);
      const { key } = await control.createKey(KEY, options);
      const joined = await admin.join?.({ authKey: key, hostname: 'teller' });
      const regions = (await plane.relays(options)).map(({ regionName }) => regionName);
      const told = async () => (await control.listDevices(options))[0]?.connectivity;
      await expect.poll(told, { timeout: 20_000 }).toMatchObject({ udp: true });
      expect(await control.findDevice(joined?.deviceId ?? '', options)).toMatchObject({ connectivity: { udp: true } });
      const found = await told();
      const answered = found?.regions ?? [];
      expect(regions).toEqual(expect.arrayContaining(answered.map(({ name }) => name)));
      expect(answered.filter(({ isHome }) => isHome)).toHaveLength(1);
      expect(answered.every(({ latencyMs }) => latencyMs >= 0 && latencyMs < 60_000)).toBe(true);
      for (const word of [found?.ipv6, found?.mappingVaries]) expect([true, false, undefined]).toContain(word);
    }),
  );
}

export function routeCases(run: Run, withJoin: Test): void {
  withJoin(
    'P13: routes are approved by set; the policy approves some by itself; an unknown device is CONTROL_NOT_FOUND',
    run(async ({ admin, options, make }) => {
      const { control } = await make();
      await control.writePolicy(POLICY, 'ts-default', options);
      const { key } = await control.createKey(KEY, options);
      const deviceId = (await admin.join?.({ authKey: key, hostname: 'router', advertiseRoutes: [ROUTE, '10.99.0.0/16'] }))?.deviceId ?? '';
      const routes = async () =>
        (await control.listDevices(options)).map((device) => [[...device.advertisedRoutes].sort(), [...device.enabledRoutes].sort()]);
      await expect.poll(routes, { timeout: 10_000 }).toEqual([[[ROUTE, '10.99.0.0/16'], [ROUTE]]]);
      await control.approveRoutes(deviceId, ['10.99.0.0/16'], options);
      expect(await routes()).toEqual([[[ROUTE, '10.99.0.0/16'], ['10.99.0.0/16']]]);
      await control.approveRoutes(deviceId, [], options);
      expect(await routes()).toEqual([[[ROUTE, '10.99.0.0/16'], []]]);
      await expect(control.approveRoutes('nUnheardOf', [], options)).rejects.toMatchObject({ code: 'CONTROL_NOT_FOUND' });
    }),
  );
}

export function deviceIsolationCases(run: Run, withJoin: Test): void {
  withJoin(
    "P16: a tailnet's client neither sees, deletes nor routes another's device; twin: the device's own does",
    run(async ({ admin, options, make }) => {
      const [ours, theirs] = [await make(), await make()];
      for (const { control } of [ours, theirs]) await control.writePolicy(POLICY, 'ts-default', options);
      const { key } = await theirs.control.createKey(KEY, options);
      const deviceId = (await admin.join?.({ authKey: key, hostname: 'theirs' }))?.deviceId ?? '';
      expect(await ours.control.listDevices(options)).toEqual([]);
      expect(await ours.control.findDevice(deviceId, options)).toBeUndefined();
      await ours.control.deleteDevice(deviceId, options);
      await expect(ours.control.approveRoutes(deviceId, [ROUTE], options)).rejects.toMatchObject({ code: 'CONTROL_NOT_FOUND' });
      expect((await theirs.control.listDevices(options)).map((device) => device.deviceId)).toEqual([deviceId]);
      await theirs.control.deleteDevice(deviceId, options);
      expect(await theirs.control.listDevices(options)).toEqual([]);
    }),
  );
}
