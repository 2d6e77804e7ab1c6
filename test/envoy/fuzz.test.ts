import { NetworkManager } from '@bifrost/types/proto';
import { type DescMethod, fromBinary, fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { brokenJson, requestOf, target } from './support/arbitrary.ts';
import type { Headers, Json, Verdict } from './support/door.ts';
import { framed, RawGrpc } from './support/raw-grpc.ts';
import { ROUTES, type Sent, verdictOf } from './support/rest-door.ts';
import { DOORS, type DoorName, REST_DOORS } from './support/service.ts';
import { essence, expectSame, verdictOnly, Worlds } from './support/worlds.ts';

/** Ten times as many runs: ENVOY_FUZZ=10. Another seed: ENVOY_FUZZ_SEED=7. */
const TIMES = Number(process.env['ENVOY_FUZZ'] ?? 1);
const SEED = Number(process.env['ENVOY_FUZZ_SEED'] ?? 1);
const runs = (numRuns: number) => ({ numRuns: numRuns * TIMES, seed: SEED, endOnFailure: false, interruptAfterTimeLimit: 50_000 * TIMES });
const TIMEOUT_MS = 60_000 * TIMES;

let worlds: Worlds;
let admin: Headers;
const unhandled: unknown[] = [];
const onUnhandled = (error: unknown): void => void unhandled.push(error);

beforeAll(async () => {
  process.on('unhandledRejection', onUnhandled);
  worlds = await Worlds.open();
  admin = worlds.issuer.bearer(['admin:*']);
  await worlds.each(async (service) => {
    for (const [tailnetName, customerId] of [
      ['acme', 'customer-a'],
      ['other', 'customer-b'],
    ] as const)
      await service.manager.createTailnet({ customerId, tailnetName, config: { allowedNetworks: ['10.1.0.0/16'] } });
    for (const book of ['book', 'second']) await service.addBook('customer-a', book);
  });
});
afterAll(async () => {
  process.off('unhandledRejection', onUnhandled);
  await worlds[Symbol.asyncDispose]();
});

/** Read-only would end all that follows; it is in the story of the methods. */
const METHODS = NetworkManager.methods.filter(({ methodKind, name }) => methodKind === 'unary' && name !== 'SetReadOnly');

/** Whether a client with the generated code can say it at all. */
function canBeSaid(method: DescMethod, request: Json): boolean {
  const { update_mask: mask } = request;
  const camel =
    typeof mask === 'string' ? { ...request, update_mask: mask.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()) } : request;
  try {
    toBinary(method.input, fromJson(method.input, camel as JsonValue));
    return true;
  } catch {
    return false;
  }
}

/** What REST says of the path itself gRPC has no word for. */
function hasPlainPath(method: DescMethod, request: Json): boolean {
  const names = [...(ROUTES.get(method.name)?.path ?? '').matchAll(/\{(\w+)\}/g)].map(([, name = '']) => request[name]);
  return names.every((value) => typeof value === 'string' && /^[\w-]{1,100}$/.test(value));
}

async function ask(names: readonly DoorName[], method: DescMethod, request: Json): Promise<Verdict> {
  const hasEmptyPath = /^,|,,|,$/.test(String(request['update_mask'] ?? ''));
  const isOfForm = hasPlainPath(method, request) && !hasEmptyPath;
  const verdicts = new Map<string, Verdict>();
  for (const name of names) {
    const service = worlds.services.get(name);
    if (service === undefined) throw new RangeError('no such world');
    verdicts.set(name, await service.doors[name].call(method.name, request, { headers: admin }));
    await service.world.quiet();
  }
  const verdict = expectSame(verdicts, isOfForm ? essence : verdictOnly);
  expect([2, 13]).not.toContain(verdict.code);
  return verdict;
}

describe('requests out of the schema', () => {
  it.each(METHODS.map((method): [string, DescMethod] => [method.name, method]))(
    '%s: all doors say the same',
    async (_, method) => {
      await fc.assert(
        fc.asyncProperty(requestOf(method.input, { otherKinds: ROUTES.get(method.name)?.operation.requestBody !== undefined }), async (request) => {
          // Worlds must stay equal: what only some doors can be asked is refused by them.
          if (canBeSaid(method, request) && hasPlainPath(method, request)) await ask(DOORS, method, request);
          else expect((await ask(REST_DOORS, method, request)).code).not.toBe(0);
        }),
        runs(14),
      );
    },
    TIMEOUT_MS,
  );
});

/** Both REST doors on what changes nothing. */
async function askRest(sent: Omit<Sent, 'headers'>): Promise<void> {
  const [own, byEnvoy] = await Promise.all(
    REST_DOORS.map(async (name) => {
      const json = sent.body === undefined ? {} : { 'content-type': 'application/json' };
      return verdictOf(
        (await worlds.services.get(name)?.doors[name].send({ ...sent, headers: { ...admin, ...json } })) ?? {
          status: 0,
          headers: new Map(),
          text: '',
        },
      );
    }),
  );
  const of = (verdict: Verdict | undefined) => [verdict?.http, verdict?.code, verdict?.reason, verdict?.code === 0 ? verdict.body : ''];
  expect(of(byEnvoy)).toEqual(of(own));
  expect(own?.http).toBeLessThan(500);
}

describe('raw requests', () => {
  const path = '/api/v1/networks/tailnets/acme:planUpdate';

  it(
    'JSON with mistakes: both REST doors say the same',
    async () => {
      await fc.assert(
        fc.asyncProperty(brokenJson, (body) => askRest({ method: 'POST', path, body })),
        runs(250),
      );
    },
    TIMEOUT_MS,
  );

  it(
    'bytes for a body: both REST doors say the same',
    async () => {
      const bytes = fc.uint8Array({ maxLength: 60 }).map((body) => Buffer.from(body));
      await fc.assert(
        fc.asyncProperty(bytes, (body) => askRest({ method: 'POST', path, body })),
        runs(60),
      );
    },
    TIMEOUT_MS,
  );

  it(
    'paths and queries: both REST doors say the same',
    async () => {
      await fc.assert(
        fc.asyncProperty(target, (where) => askRest({ method: 'GET', path: where })),
        runs(300),
      );
    },
    TIMEOUT_MS,
  );

  it(
    'bytes for a message: both gRPC doors say the same',
    async () => {
      const [own, byEnvoy] = (['grpc', 'grpcByEnvoy'] as const).map((name) => new RawGrpc(worlds.services.get(name)?.doors[name].port ?? 0));
      const { getNetworkStatus: method, listTailnets } = NetworkManager.method;
      const right = toBinary(listTailnets.input, fromJson(listTailnets.input, { customer_id: 'customer-a', page_size: 1 } as JsonValue));
      const mutated = fc
        .tuple(fc.nat({ max: right.length }), fc.uint8Array({ maxLength: 3 }))
        .map(([at, put]) => Buffer.concat([right.subarray(0, at), put, right.subarray(at)]));
      const bytes = fc.oneof(fc.uint8Array({ maxLength: 40 }), mutated);
      await fc.assert(
        fc.asyncProperty(bytes, fc.constantFrom(method, listTailnets), async (body, { name, input }) => {
          const send = (door: RawGrpc | undefined) => door?.send(`/${NetworkManager.typeName}/${name}`, framed(body), { ...admin });
          const [first, second] = [await send(own), await send(byEnvoy)];
          expect([second?.http, second?.status, second?.message]).toEqual([first?.http, first?.status, first?.message]);
          if (isMessage(input, body)) expect([0, 3, 5]).toContain(first?.status);
        }),
        runs(200),
      );
      for (const door of [own, byEnvoy]) door?.[Symbol.dispose]();
    },
    TIMEOUT_MS,
  );
});

function isMessage(input: DescMethod['input'], bytes: Uint8Array): boolean {
  try {
    fromBinary(input, bytes);
    return true;
  } catch {
    return false;
  }
}

describe('afterwards', () => {
  it('nothing was left unhandled, and every door answers', async () => {
    expect(unhandled).toEqual([]);
    expect((await worlds.call('GetServiceInfo', {}, admin)).code).toBe(0);
  });
});
