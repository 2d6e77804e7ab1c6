import { NetworkManager } from '@bifrost/types/proto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Verdict } from './support/door.ts';
import { STEPS } from './support/steps.ts';
import { Worlds } from './support/worlds.ts';

let worlds: Worlds;
const before = new Map<string, Verdict>();

beforeAll(async () => {
  worlds = await Worlds.open();
});
afterAll(() => worlds[Symbol.asyncDispose]());

describe('four worlds, each asked by a door of its own, tell the same story', () => {
  it.each(STEPS.map((step): [string, string, (typeof STEPS)[number]] => [step.method, step.says, step]))('%s: %s', async (_, title, step) => {
    const { method, request, headers, first, reason, http, fields, body, keys } = step;
    if (first !== undefined) await worlds.each(async (service) => void (await first(service)));
    const asked = typeof request === 'function' ? request(before) : request;
    const verdict = await worlds.call(method, asked, headers?.(worlds, before) ?? worlds.issuer.bearer(['admin:*']));
    before.set(title, verdict);
    expect(verdict.reason).toBe(reason);
    if (http !== undefined) expect(verdict.http).toBe(http);
    if (fields !== undefined) expect(verdict.fields).toEqual(fields);
    if (body !== undefined) expect(verdict.body).toMatchObject(body);
    if (keys !== undefined) expect(Object.keys({ ...(verdict.body as object) }).sort()).toEqual(keys);
  });

  it('every unary method is in it, answered and refused', () => {
    const unary = NetworkManager.methods.filter(({ methodKind }) => methodKind === 'unary').map(({ name }) => name);
    const of = (isRefused: boolean) => new Set(STEPS.filter(({ reason }) => (reason !== undefined) === isRefused).map(({ method }) => method));
    expect([unary.filter((name) => !of(false).has(name)), unary.filter((name) => !of(true).has(name))]).toEqual([[], []]);
  });
});
