import { inspect } from 'node:util';
import { parseAddress } from '@bifrost/types/core';
import { expect, it } from 'vitest';
import type { KeyRequest } from '../../ports/control-plane.ts';
import { KEY, type Made, newName, POLICY, type Run, type Test } from './control-plane-support.ts';

export function tailnetCases(run: Run): void {
  it(
    'P1: a created tailnet is listed, and its own client opens it',
    run(async ({ plane, options, make }) => {
      const { controlId, displayName, dnsName, credential } = await make();
      expect(await plane.listTailnets(options)).toContainEqual({ controlId, displayName });
      expect(dnsName).toMatch(/\./);
      const described = await plane.tailnet({ credential, controlId }).describe(options);
      expect(described.controlId).toBe(controlId);
      expect([dnsName, undefined]).toContain(described.dnsName);
      expect((await plane.tailnet({ credential }).describe(options)).controlId).not.toBe('');
      expect(JSON.stringify(credential) + inspect(credential, { depth: 9 })).not.toContain(credential.clientSecret.reveal());
    }),
  );
  it(
    'P2: a name that is taken is CONTROL_CONFLICT and makes nothing',
    run(async ({ plane, options, make }) => {
      const { displayName } = await make();
      const before = await plane.listTailnets(options);
      await expect(plane.createTailnet(displayName, options)).rejects.toMatchObject({ code: 'CONTROL_CONFLICT' });
      expect(await plane.listTailnets(options)).toHaveLength(before.length);
    }),
  );
  it(
    "P3: the organization's client opens a tailnet whose own client is lost, by its control id",
    run(async ({ plane, options, make }) => {
      const { controlId, control } = await make();
      await control.writePolicy(POLICY, 'ts-default', options);
      const recovered = plane.tailnet({ controlId });
      expect((await recovered.describe(options)).controlId).toBe(controlId);
      const { keyId } = await recovered.createKey(KEY, options);
      expect((await control.listKeys(options)).map((key) => key.keyId)).toContain(keyId);
    }),
  );
}

export function endCases(run: Run, withRoom: Test): void {
  it(
    'P4: deleting a tailnet is idempotent, by its own client and by the organization',
    run(async ({ plane, options, make }) => {
      const { controlId, control, credential } = await make();
      await control.deleteTailnet(options);
      expect((await plane.listTailnets(options)).map((tailnet) => tailnet.controlId)).not.toContain(controlId);
      await control.deleteTailnet(options);
      await plane.tailnet({ controlId }).deleteTailnet(options);
      await expect(plane.tailnet({ credential }).listDevices(options)).rejects.toMatchObject({ code: 'CONTROL_CREDENTIALS_INVALID' });
      const other = await make();
      await plane.tailnet({ controlId: other.controlId }).deleteTailnet(options);
      expect((await plane.listTailnets(options)).map((tailnet) => tailnet.controlId)).not.toContain(other.controlId);
    }),
  );
  withRoom(
    'P5: beyond the limit of the organization creating is CONTROL_QUOTA and makes nothing; twin: with room again it works',
    run(async ({ plane, admin, options, make }) => {
      const room = (await admin.room?.()) ?? 0;
      expect(room).toBeGreaterThan(0);
      const made: Made[] = [];
      for (let index = 0; index < room; index += 1) made.push(await make());
      const full = await plane.listTailnets(options);
      await expect(plane.createTailnet(newName(), options)).rejects.toMatchObject({ code: 'CONTROL_QUOTA', retry: 'never' });
      expect(await plane.listTailnets(options)).toHaveLength(full.length);
      await made[0]?.control.deleteTailnet(options);
      await make();
    }),
  );
}

export function keyCases(run: Run): void {
  it(
    'P6: a created key is listed without its secret, valid until it expires',
    run(async ({ options, make }) => {
      const { control } = await make();
      await control.writePolicy(POLICY, 'ts-default', options);
      const fromMs = Date.now();
      const { key, ...known } = await control.createKey(KEY, options);
      expect(known).toMatchObject({ description: KEY.description, tags: KEY.tags, valid: true });
      // A minute of slack: the control plane has a clock of its own.
      expect(known.expiresAtMs).toBeGreaterThan(fromMs + 540_000);
      expect(known.expiresAtMs).toBeLessThan(Date.now() + 660_000);
      const listed = await control.listKeys(options);
      expect(listed).toEqual([known]);
      expect(JSON.stringify(listed)).not.toContain(key.reveal());
    }),
  );
  it(
    'P7: revoking is idempotent, and a revoked key is listed no more',
    run(async ({ options, make }) => {
      const { control } = await make();
      await control.writePolicy(POLICY, 'ts-default', options);
      const [first, second] = [await control.createKey(KEY, options), await control.createKey(KEY, options)];
      await control.revokeKey(first.keyId, options);
      await control.revokeKey(first.keyId, options);
      await control.revokeKey('kUnheardOf', options);
      expect((await control.listKeys(options)).map(({ keyId }) => keyId)).toEqual([second.keyId]);
    }),
  );
  it(
    'P8: a key without tags, or with a description of another form, is CONTROL_DENIED and made by nobody',
    run(async ({ options, make }) => {
      const { control } = await make();
      await control.writePolicy(POLICY, 'ts-default', options);
      const wrong: Partial<KeyRequest>[] = [{ tags: [] }, { description: 'x'.repeat(51) }, { description: 'under_score' }];
      for (const part of wrong) {
        await expect(control.createKey({ ...KEY, ...part }, options)).rejects.toMatchObject({ code: 'CONTROL_DENIED', retry: 'never' });
      }
      expect(await control.listKeys(options)).toEqual([]);
    }),
  );
}

export function policyCases(run: Run): void {
  it(
    'P9: a policy is kept as written, and replaced only by who read its last state',
    run(async ({ options, make }) => {
      const { control } = await make();
      const untouched = await control.readPolicy(options);
      await control.writePolicy(POLICY, 'ts-default', options);
      const first = await control.readPolicy(options);
      expect(first.text).toBe(POLICY);
      expect(first.etag).not.toBe(untouched.etag);
      const next = POLICY.replace('kept as written', 'kept as written twice');
      await expect(control.writePolicy(next, 'ts-default', options)).rejects.toMatchObject({ code: 'CONTROL_CONFLICT', retry: 'backoff' });
      await expect(control.writePolicy(next, untouched.etag, options)).rejects.toMatchObject({ code: 'CONTROL_CONFLICT' });
      expect(await control.readPolicy(options)).toEqual(first);
      await control.writePolicy(next, first.etag, options);
      expect((await control.readPolicy(options)).text).toBe(next);
    }),
  );
  it(
    'P10: what is no policy is POLICY_REFUSED and changes nothing',
    run(async ({ options, make }) => {
      const { control } = await make();
      const before = await control.readPolicy(options);
      await expect(control.writePolicy('{ "grants": ', before.etag, options)).rejects.toMatchObject({ code: 'POLICY_REFUSED' });
      expect(await control.readPolicy(options)).toEqual(before);
    }),
  );
}

export function relayCases(run: Run): void {
  it(
    'P26: relays are told with name, addresses and ports, to anyone, and the same when asked again',
    run(async ({ plane, options }) => {
      const relays = await plane.relays(options);
      expect(relays.length).toBeGreaterThan(0);
      expect(relays.some(({ port }) => port !== undefined)).toBe(true);
      for (const { region, regionName, host, addresses, port, stunPort } of relays) {
        expect([region, regionName].every((name) => name !== '')).toBe(true);
        expect(host).toMatch(/^[\w.:-]+$/);
        for (const address of [...addresses]) expect(parseAddress(address)).toBeDefined();
        const ports = [port, stunPort].filter((one) => one !== undefined);
        expect(ports.length).toBeGreaterThan(0);
        expect(ports.every((one) => Number.isInteger(one) && one > 0 && one <= 65_535)).toBe(true);
      }
      expect(await plane.relays(options)).toEqual(relays);
    }),
  );
}
