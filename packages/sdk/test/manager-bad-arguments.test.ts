import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { NetworkManager } from '../src/manager/network-manager.ts';
import { BOOK, openWorld } from './support/world.ts';

const NONE = Symbol('nothing is refused');

/** What each public method answers to a first argument that is none of its own. */
const METHODS: Readonly<Record<string, string | typeof NONE>> = {
  createTailnet: 'INVALID_ARGUMENT',
  getTailnet: 'TAILNET_NOT_FOUND',
  listTailnets: 'INVALID_ARGUMENT',
  updateTailnet: 'INVALID_ARGUMENT',
  planUpdateTailnet: 'INVALID_ARGUMENT',
  pauseTailnet: 'TAILNET_NOT_FOUND',
  resumeTailnet: 'TAILNET_NOT_FOUND',
  deleteTailnet: 'TAILNET_NOT_FOUND',
  attachSidecar: 'INVALID_ARGUMENT',
  planAttach: 'INVALID_ARGUMENT',
  injectSidecar: 'INVALID_ARGUMENT',
  updateSidecar: 'INVALID_ARGUMENT',
  planUpdateSidecar: 'INVALID_ARGUMENT',
  repairSidecar: 'SIDECAR_NOT_FOUND',
  upgradeSidecars: 'INVALID_ARGUMENT',
  planUpgrade: 'INVALID_ARGUMENT',
  detachSidecar: 'SIDECAR_NOT_FOUND',
  getSidecar: 'SIDECAR_NOT_FOUND',
  listSidecars: 'INVALID_ARGUMENT',
  getNetworkStatus: 'TAILNET_NOT_FOUND',
  getConnectionMetrics: 'INVALID_ARGUMENT',
  monitorConnectivity: 'INVALID_ARGUMENT',
  on: 'INVALID_ARGUMENT',
  waitFor: 'INVALID_ARGUMENT',
  listLeftovers: 'INVALID_ARGUMENT',
  ingestReport: 'INVALID_ARGUMENT',
  quarantineSidecar: 'INVALID_ARGUMENT',
  readmitSidecar: 'SIDECAR_NOT_FOUND',
  explain: 'INVALID_ARGUMENT',
  firewallRequirements: 'TAILNET_NOT_FOUND',
  proveIsolation: 'INVALID_ARGUMENT',
  start: 'INVALID_ARGUMENT',
  setReadOnly: 'INVALID_ARGUMENT',
  // It takes nothing.
  stop: NONE,
};
/** For the classes that extend each other, not for callers. */
const PROTECTED: ReadonlySet<string> = new Set(['constructor', 'call', 'open', 'asked']);
/** Whose first argument may be left out: the options of a call, or a filter. */
const OPTIONAL: ReadonlySet<string> = new Set([
  ...['listTailnets', 'listSidecars', 'getConnectionMetrics', 'monitorConnectivity', 'listLeftovers', 'proveIsolation', 'start'],
]);

const publicMethods = (): readonly string[] => {
  const names: string[] = [];
  for (let at = NetworkManager.prototype as object; at !== Object.prototype; at = Object.getPrototypeOf(at))
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at)))
      if (typeof value === 'function' && !PROTECTED.has(name)) names.push(name);
  return names.sort();
};

type Method = (...given: readonly unknown[]) => unknown;

/** What a call throws or rejects with, whichever way. */
async function outcome(manager: NetworkManager, name: string, given: readonly unknown[]): Promise<unknown> {
  const method = manager[name as keyof NetworkManager] as unknown as Method;
  try {
    const answer: unknown = method.apply(manager, [...given]);
    await answer;
    return NONE;
  } catch (error) {
    return error;
  }
}

describe('a first argument that is none', () => {
  it('is asked of every public method', () => {
    expect(Object.keys(METHODS).sort()).toEqual(publicMethods());
  });

  const cases = Object.entries(METHODS).flatMap(([name, code]) =>
    [undefined, null, 'x', 7, []].flatMap((given) => (given === undefined && OPTIONAL.has(name) ? [] : [[name, JSON.stringify(given), given, code]])),
  );
  it.each(cases as [string, string, unknown, string | typeof NONE][])(
    '%s(%s) is refused by code, and changes nothing',
    async (name, _, given, code) => {
      await using world = await openWorld();
      await world.run(2_000);
      const before = await world.snapshot([world.book]);
      const error = await outcome(world.manager, name, [given]);
      if (code === NONE) return expect(error).toBe(NONE);
      expect(error).toBeInstanceOf(BifrostError);
      expect(error).toMatchObject({ code, issues: expect.arrayContaining([{ path: expect.any(String), message: expect.any(String) }]) });
      expect((error as BifrostError).issues.map(({ message }) => message).join()).not.toMatch(/undefined|received|expected/);
      expect(await world.snapshot([world.book])).toEqual(before);
      expect([world.manager.readOnly]).toEqual([false]);
    },
  );

  it.each([...OPTIONAL])('%s() may have none', async (name) => {
    await using world = await openWorld();
    const error = await outcome(world.manager, name, []);
    expect(BifrostError.is(error) ? error.code : undefined).toBe(name === 'start' ? 'INVALID_OPTIONS' : undefined);
  });
});

describe('further arguments that are none', () => {
  const ACME = 'acme-corp-production';
  const JOB = { kind: 'Job', metadata: { namespace: 'acme-corp', name: 'nightly' } };
  const cases: readonly [string, readonly unknown[], string][] = [
    ['getTailnet', [ACME, null], 'options'],
    ['getTailnet', [ACME, { signal: 'now' }], 'options.signal'],
    ['updateTailnet', [{ tailnetName: ACME }, 'x'], 'options'],
    ['deleteTailnet', [ACME, null], 'options'],
    ['deleteTailnet', [ACME, true], 'options'],
    ['detachSidecar', [BOOK.bookDeploymentId, null], 'options'],
    ['on', ['instance:connected'], 'listener'],
    ['on', ['instance:conected', () => {}], 'name'],
    ['ingestReport', [{ document: {} }], 'token'],
    ['ingestReport', [{ token: 'a token', document: {} }], 'token'],
    ['injectSidecar', [{ tailnetName: ACME, config: BOOK.config }], 'manifest'],
    ['injectSidecar', [{ tailnetName: ACME, config: BOOK.config, manifest: null }], 'manifest'],
    ['injectSidecar', [{ tailnetName: ACME, config: BOOK.config, manifest: { kind: 'Job', metadata: 'x' } }], 'manifest.metadata.namespace'],
    ['injectSidecar', [{ tailnetName: ACME, config: BOOK.config, manifest: { ...JOB } }], 'manifest.spec.template'],
    ['injectSidecar', [{ tailnetName: ACME, config: BOOK.config, manifest: { ...JOB, spec: { jobTemplate: {} } } }], 'manifest.spec.template'],
    ['waitFor', [{ status: 'active' }], 'tailnetName'],
    ['waitFor', [{ tailnetName: 7, status: 'active' }], 'tailnetName'],
    ['waitFor', [{ tailnetName: ACME, sidecarId: 'x', status: 'active' }], 'sidecarId'],
    ['waitFor', [{ tailnetName: ACME, status: 'activ' }], 'status'],
    ['waitFor', [{ tailnetName: ACME, status: 'connected' }], 'status'],
    ['waitFor', [{ sidecarId: 'x', status: 'active' }], 'status'],
  ];
  it.each(cases)('%s(%j) is refused by path', async (name, given, path) => {
    await using world = await openWorld();
    const error = await outcome(world.manager, name, given);
    expect(error).toBeInstanceOf(BifrostError);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', issues: expect.arrayContaining([expect.objectContaining({ path })]) });
  });
});
