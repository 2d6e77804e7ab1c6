// Requests that nobody wrote: whatever is sent, doors of one kind agree, nothing is a fault of the server, and it goes on answering.

import { NetworkManager } from '@bifrost/types/proto';
import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Headers, Json, Verdict } from './support/door.ts';
import { type Received, type RestDoor, ROUTES } from './support/rest-door.ts';
import { Service } from './support/service.ts';
import { essence } from './support/worlds.ts';

const RUNS = Number(process.env['BIFROST_FUZZ_RUNS'] ?? 40);
const options = { numRuns: RUNS, seed: 20_261_129 };

let service: Service;
let viewer: Headers;
beforeAll(async () => {
  service = await Service.open();
  viewer = service.issuer.bearer(['viewer:customer-a']); // may look everywhere it is allowed to, and change nothing: every door meets the same world
  await service.manager.createTailnet({ customerId: 'customer-a', tailnetName: 'acme', config: { allowedNetworks: ['10.0.0.0/8'] } });
});
afterAll(() => service[Symbol.asyncDispose]());

const word = fc.oneof(
  fc.constantFrom(
    'acme',
    'customer-a',
    'customer-b',
    'config.tags',
    'tags',
    '',
    '-',
    'A',
    '*',
    '..',
    'a/b',
    'a:b',
    'é',
    '\u0000',
    '10.0.0.0/8',
    '0.0.0.0/0',
    '::/0',
    'x'.repeat(300),
  ),
  fc.string({ unit: 'binary', maxLength: 12 }).filter((text) => text.isWellFormed()),
);

function scalarOf({ scalar, enum: choices }: DescField): fc.Arbitrary<unknown> {
  if (choices !== undefined) return fc.constantFrom(...choices.values.map(({ name }) => name));
  if (scalar === ScalarType.BOOL) return fc.boolean();
  if (scalar === ScalarType.UINT32) return fc.oneof(fc.nat(2_000), fc.constant(4_294_967_295));
  if (scalar === ScalarType.DOUBLE) return fc.double({ noNaN: true, noDefaultInfinity: true });
  return word;
}

function anyOf(field: DescField): fc.Arbitrary<unknown> {
  if (field.message === undefined) return scalarOf(field);
  if (field.message.typeName === 'google.protobuf.FieldMask') return fc.constantFrom('tags', 'config', 'config.allowedNetworks', 'nothing');
  if (field.message.typeName === 'google.protobuf.Struct')
    return fc.dictionary(fc.constantFrom('kind', 'metadata', 'spec'), fc.oneof(fc.constant({}), fc.constant('Job')));
  return requestOf(field.message);
}

/** A request of a message: any of its members, of the right kind, with any value. */
function requestOf(desc: DescMessage): fc.Arbitrary<Json> {
  const members = Object.fromEntries(
    desc.fields.map((field) => [field.name, field.fieldKind === 'list' ? fc.array(anyOf(field), { maxLength: 3 }) : anyOf(field)]),
  );
  return fc.record(members, { requiredKeys: [] });
}

/** A path that cannot be sent as it is would be another request. */
const sendable = (request: Json): boolean =>
  ['tailnet_name', 'sidecar_id'].every(
    (name) => request[name] === undefined || /^[A-Za-z0-9.*:-]{1,300}$/.test(String(request[name])) || request[name] === '',
  );

/** Whether every member of its path is there. */
const isWhole = (name: string, request: Json): boolean =>
  [...(ROUTES.get(name)?.path ?? '').matchAll(/\{(\w+)\}/g)].every(
    ([, member = '']) => !['', '.', '..', undefined].includes(request[member] as string | undefined),
  );

const METHODS = NetworkManager.methods.filter(({ methodKind, name }) => methodKind === 'unary' && name !== 'GetServiceInfo');

describe('requests by the proto, through all doors', () => {
  it.each(METHODS.map(({ name, input }) => ({ name, input })))('$name', async ({ name, input }) => {
    const { rest, restByEnvoy, grpc, grpcByEnvoy } = service.doors;
    await fc.assert(
      fc.asyncProperty(requestOf(input).filter(sendable), async (request) => {
        const all = [];
        for (const door of [rest, restByEnvoy, grpc, grpcByEnvoy]) all.push(await door.call(name, request, { headers: viewer }));
        const [first, second, third, fourth] = all;
        expect([essence(second as Verdict), second?.http]).toEqual([essence(first as Verdict), first?.http]);
        expect(essence(fourth as Verdict)).toEqual(essence(third as Verdict));
        // An empty name makes another path; what is no member of a path agrees with gRPC too.
        if (isWhole(name, request)) expect([first?.code, first?.reason]).toEqual([third?.code, third?.reason]);
        for (const { http = 0, code } of all) expect([http < 500, code === 13 || code === 2]).toEqual([true, false]);
      }),
      { ...options, numRuns: Math.ceil(RUNS / 4) },
    );
  });
});

const pathPart = fc.oneof(
  fc.constantFrom(
    'tailnets',
    'sidecars',
    'acme',
    'status',
    'events',
    'acme:pause',
    '..',
    '.',
    '',
    '%2f',
    '%00',
    '%ff',
    '%61cme',
    ';x',
    'a%20b',
    '~',
    'acme%3Apause',
  ),
  fc.stringMatching(/^[A-Za-z0-9%:;=~._-]{0,12}$/),
);
const rawPath = fc.array(pathPart, { maxLength: 5 }).map((parts) => `/api/v1/networks/${parts.join('/')}`);
const rawQuery = fc.oneof(
  fc.constant(''),
  fc.stringMatching(/^\?[A-Za-z0-9_%&=+.-]{0,30}$/),
  fc.constantFrom('?page_size=1', '?page_size=1&page_size=2', '?tailnet_name=other', '?pageSize=x', '?customer_id=%ff'),
);
const rawBody = fc.oneof(
  fc.json({ maxDepth: 4 }),
  fc.json({ maxDepth: 3 }).map((text) => text.slice(0, -1)),
  fc.constantFrom(
    '{"tags":["a",]}',
    "{'tags':[]}",
    '{tags:[]}',
    '{"tags":NaN}',
    '{"tags":1e999}',
    '{"tags":["\\ud800"]}',
    '{"tags":[],"tags":[]}',
    '{"__proto__":{}}',
    '[]',
    'null',
    '\ufeff{}',
    '{"config":{"enable_logging":"true"}}',
    '{"config":{"access_policy":"2"}}',
  ),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.constant('['.repeat(10_000)),
);

describe('anything, through both REST doors', () => {
  it('has the same status and code', async () => {
    const ask = (door: RestDoor, method: string, path: string, body: string | Buffer | undefined): Promise<Received> =>
      door.send({
        method,
        path,
        headers: {
          ...viewer,
          ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }),
        },
        ...(body === undefined ? {} : { body }),
      });
    const told = ({ status, text }: Received): unknown => [status, status >= 400 ? (JSON.parse(text) as { readonly code: number }).code : 0];
    const method = fc.constantFrom('GET', 'POST', 'PATCH', 'DELETE', 'PUT');
    await fc.assert(
      fc.asyncProperty(method, rawPath, rawQuery, fc.option(rawBody, { nil: undefined }), async (verb, path, query, body) => {
        if (/\/events(?:\?|$)/.test(`${path}${query}`) && verb === 'GET') return; // a stream that goes on
        const direct = await ask(service.doors.rest, verb, `${path}${query}`, body);
        const proxied = await ask(service.doors.restByEnvoy, verb, `${path}${query}`, body);
        expect(told(proxied)).toEqual(told(direct));
        expect(direct.status).toBeLessThan(500);
      }),
      { ...options, numRuns: RUNS * 10 },
    );
  });

  it('and it still answers', async () => {
    for (const door of Object.values(service.doors))
      expect((await door.call('GetTailnet', { tailnet_name: 'acme' }, { headers: viewer })).code).toBe(0);
  });
});
