import { NetworkManager, UpdateTailnetRequestSchema } from '@bifrost/types/proto';
import {
  create,
  type DescField,
  type DescMessage,
  equals,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf';
import { FieldMaskSchema, StructSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Caller } from '../../src/server/api/caller.ts';
import { messageOf, plainOf } from '../../src/server/api/convert.ts';
import { addressOf, credentialsOf } from '../../src/server/api/credentials.ts';
import { bindingsOf, match } from '../../src/server/api/http-rules.ts';
import { ifMatchOf } from '../../src/server/api/if-match.ts';
import { withoutLongDeadline } from '../../src/server/api/long-deadlines.ts';
import { pageOf } from '../../src/server/api/page.ts';
import { identityOf } from '../../src/server/api/request-identity.ts';
import { parseStrict } from '../../src/server/api/strict-json.ts';
import { changeOf } from '../../src/server/api/update-mask.ts';
import { refusalOf } from '../server/support/caught.ts';

const callerWith = (headers: Readonly<Record<string, string>>, peer: Caller['peer'] = { address: '192.0.2.1' } as never): Caller =>
  ({ header: (name: string) => headers[name], peer, signal: AbortSignal.timeout(1_000) }) as Caller;

/** Any value that a message of this form can have, unset members too. */
function anyOf(desc: DescMessage): fc.Arbitrary<MessageShape<DescMessage>> {
  const members = Object.fromEntries(desc.fields.map((field) => [field.localName, fc.option(anyValue(field), { nil: undefined })]));
  return fc
    .record(members)
    .map((init) =>
      create(desc, Object.fromEntries(Object.entries(init).filter(([, value]) => value !== undefined)) as MessageInitShape<DescMessage>),
    );
}
function anyValue(field: DescField): fc.Arbitrary<unknown> {
  if (field.fieldKind === 'map')
    return fc.dictionary(
      fc.string({ minLength: 1 }).filter((key) => key !== '__proto__'),
      fc.string(),
      { maxKeys: 3 },
    );
  const one = anyItem(field);
  return field.fieldKind === 'list' ? fc.array(one, { maxLength: 3 }) : one;
}
function anyItem({ scalar, enum: choices, message }: DescField): fc.Arbitrary<unknown> {
  if (choices !== undefined) return fc.constantFrom(...choices.values.map(({ number }) => number));
  if (message?.typeName === StructSchema.typeName) return fc.constantFrom({}, { a: 1, b: ['x', null, { c: true }] });
  if (message?.typeName === TimestampSchema.typeName)
    return fc
      .integer({ min: 0, max: 2 ** 41 })
      .map((ms) => create(TimestampSchema, { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 }));
  if (message?.typeName === FieldMaskSchema.typeName) return fc.constant(create(FieldMaskSchema, { paths: [] }));
  if (message !== undefined) return anyOf(message);
  if (scalar === ScalarType.BOOL) return fc.boolean();
  if (scalar === ScalarType.STRING) return fc.string();
  if (scalar === ScalarType.DOUBLE) return fc.double({ noNaN: true });
  return scalar === ScalarType.INT64 ? fc.bigInt({ min: 0n, max: 2n ** 62n }) : fc.nat();
}
const hasMask = ({ fields }: DescMessage): boolean => fields.some(({ message }) => message?.typeName === FieldMaskSchema.typeName);

describe('a message and what the manager takes and gives', () => {
  it.each(NetworkManager.methods.flatMap(({ input, output }) => [input, output]).map((desc) => [desc.name, desc] as const))(
    '%s goes there and back and says the same',
    (_, desc) => {
      const property = fc.property(anyOf(desc), (message) => {
        const back = messageOf(desc, hasMask(desc) ? { ...plainOf(desc, message), updateMask: undefined } : plainOf(desc, message));
        const meant = fromBinary(desc, toBinary(desc, message));
        if (hasMask(desc)) delete (meant as unknown as Record<string, unknown>)['updateMask'];
        expect(equals(desc, back, meant)).toBe(true);
      });
      fc.assert(property, { numRuns: 50 });
    },
  );

  it('a word that is not known is refused, with its place', async () => {
    const message = create(UpdateTailnetRequestSchema, { config: { accessPolicy: 99 as never } });
    expect(await refusalOf(() => plainOf(UpdateTailnetRequestSchema, message))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      issues: [{ path: 'config.access_policy' }],
    });
  });
});

describe('pages', () => {
  const keys = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 6 }), { maxLength: 40 }).map((each) => each.sort((a, b) => (a < b ? -1 : 1)));
  const filter = { customerId: 'a' };
  const read = (items: readonly string[], pageToken: string, pageSize: number) => pageOf(items, (item) => item, { pageSize, pageToken, filter });

  it('put together are the list', () => {
    fc.assert(
      fc.property(keys, fc.integer({ min: 1, max: 10 }), (items, size) => {
        const all: string[] = [];
        let token = '';
        do {
          const page = read(items, token, size);
          all.push(...page.items);
          token = page.nextPageToken;
        } while (token !== '');
        expect(all).toEqual(items);
      }),
    );
  });

  it('while items come and go: each that stays comes once, and none twice', () => {
    fc.assert(
      fc.property(keys, keys, fc.integer({ min: 1, max: 5 }), (before, after, size) => {
        const all: string[] = [];
        let token = '';
        let items = before;
        do {
          const page = read(items, token, size);
          all.push(...page.items);
          token = page.nextPageToken;
          items = items === before ? after : before;
        } while (token !== '');
        expect(new Set(all).size).toBe(all.length);
        const staying = before.filter((item) => after.includes(item));
        expect(staying.filter((item) => item <= (all.at(-1) ?? '')).every((item) => all.includes(item))).toBe(true);
      }),
    );
  });

  it('know only tokens of their own filter', async () => {
    const { nextPageToken } = read(['a', 'b'], '', 1);
    const foreign = () => pageOf(['a', 'b'], (item) => item, { pageSize: 1, pageToken: nextPageToken, filter: { customerId: 'b' } });
    for (const call of [foreign, () => read(['a'], 'x', 1), () => read(['a'], `${nextPageToken}=`, 1), () => read(['a'], '\u0000', 1)])
      expect(await refusalOf(call)).toMatchObject({ code: 'INVALID_ARGUMENT', issues: [{ path: 'pageToken' }] });
    expect(await refusalOf(() => read([], '', 1001))).toMatchObject({ issues: [{ path: 'pageSize' }] });
  });
});

describe('an update mask', () => {
  const changeable = { config: { allowedNetworks: [], enableLogging: false }, top: { tags: [] } };
  it('takes what it names, empty or not; without one what is set is taken', () => {
    const request = { config: { allowedNetworks: ['10.0.0.0/8'], enableLogging: true }, tags: [] };
    expect(changeOf(request, changeable)).toEqual({ config: { allowedNetworks: ['10.0.0.0/8'], enableLogging: true } });
    expect(changeOf({ ...request, updateMask: ['tags', 'tags'] }, changeable)).toEqual({ tags: [] });
    expect(changeOf({ ...request, updateMask: ['config.enable_logging'] }, changeable)).toEqual({ config: { enableLogging: true } });
    expect(changeOf({ updateMask: ['config'] }, changeable)).toEqual({ config: { allowedNetworks: [], enableLogging: false } });
    expect(changeOf({}, changeable)).toEqual({});
  });
  it('says which of its paths is none', async () => {
    const refused = await refusalOf(() => changeOf({ updateMask: ['tags', '*', 'config', 'config.allowedNetworks'] }, changeable));
    expect(refused.issues.map(({ path }) => path)).toEqual(['updateMask.1', 'updateMask.3']);
  });
});

describe('paths', () => {
  const bindings = bindingsOf();
  const VERBS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'get'];
  const pathOf = ({ segments, custom }: (typeof bindings)[number]): string =>
    `/${segments.map((segment) => (segment.startsWith('{') ? 'x1' : segment)).join('/')}${custom === undefined ? '' : `:${custom}`}`;

  it('each lead to their method by their verb, and by no other', () => {
    expect(new Set(bindings.map(({ method }) => method.name))).toEqual(new Set(NetworkManager.methods.map(({ name }) => name)));
    const routes = new Map(bindings.map((binding) => [`${binding.verb} ${pathOf(binding)}`, binding.method.name]));
    expect(routes.size).toBe(bindings.length);
    for (const binding of bindings)
      for (const verb of binding.custom === undefined ? VERBS : [binding.verb])
        expect(match(bindings, verb, pathOf(binding))?.binding.method.name).toBe(routes.get(`${verb} ${pathOf(binding)}`));
  });
  it.each([
    '/',
    '',
    '/api/v1/networks',
    '/api/v1/networks/tailnets/',
    '/api/v1/networks//tailnets',
    '/api/v1/networks/tailnets/a/b',
    '/API/v1/networks/tailnets',
    'api/v1/networks/tailnets/a/status/',
  ])('%j leads nowhere', (path) => {
    for (const verb of VERBS) expect(match(bindings, verb, path)).toBeUndefined();
  });
});

describe('JSON', () => {
  it('is read as anybody reads it', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        expect(parseStrict(JSON.stringify(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
    expect(parseStrict(`{"a":"${'x'.repeat(250_000)}","b":{"a":1}}`)).toHaveProperty('b.a', 1);
  });
  it.each([
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"x":{"__proto__":1,"__proto__":2}}',
    '"\\ud800"',
    '{"\\udc00":1}',
    'NaN',
    '{a:1}',
    '',
    '\ufeff{}',
    `${'['.repeat(31)}${']'.repeat(31)}`,
    '['.repeat(100_000),
  ])('refuses %j', async (text) => {
    expect((await refusalOf(() => parseStrict(text))).code).toBe('INVALID_ARGUMENT');
  });
});

describe('headers', () => {
  it('if-match is one strong etag, and agrees with the member', async () => {
    expect(ifMatchOf('"abc"', {})).toBe('abc');
    expect(ifMatchOf(undefined, { etag: 'abc' })).toBe('abc');
    expect(ifMatchOf('*', {})).toBeUndefined();
    for (const header of ['abc', 'W/"abc"', '"a", "b"', '""', ''])
      expect(await refusalOf(() => ifMatchOf(header, {}))).toMatchObject({ issues: [{ path: 'if-match' }] });
    expect(await refusalOf(() => ifMatchOf('"a"', { etag: 'b' }))).toMatchObject({ issues: [{ path: 'etag' }] });
  });
  it('a request id and a trace are taken when they can be one', () => {
    const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    expect(identityOf(callerWith({ 'x-request-id': 'a-1', traceparent: trace }), () => 'new')).toEqual({ requestId: 'a-1', traceparent: trace });
    for (const id of ['a b', 'a, b', 'a\r\nb', 'x'.repeat(65), ''])
      expect(identityOf(callerWith({ 'x-request-id': id }), () => 'new')).toEqual({ requestId: 'new' });
    for (const none of [
      'x',
      trace.toUpperCase(),
      trace.replace('00-', 'ff-'),
      trace.replace(/-\w{32}-/, `-${'0'.repeat(32)}-`),
      `${trace}, ${trace}`,
    ])
      expect(identityOf(callerWith({ traceparent: none }), () => 'new')).toEqual({ requestId: 'new' });
  });
  it('a certificate counts from one’s own connection, or as a trusted peer forwards it', () => {
    const own = { subject: 'CN=own', uris: [], dnsNames: [], fingerprintSha256: 'b'.repeat(64) };
    const forwarded = { 'x-forwarded-client-cert': `Hash=${'a'.repeat(64)};URI=spiffe://x/y`, 'x-forwarded-for': '198.51.100.7, 203.0.113.9' };
    const peer = { address: '192.0.2.1', certificate: own } as never;
    expect(credentialsOf(callerWith(forwarded, peer), () => false).clientCertificate).toEqual(own);
    expect(credentialsOf(callerWith(forwarded, peer), () => true).clientCertificate).toMatchObject({
      fingerprintSha256: 'a'.repeat(64),
      uris: ['spiffe://x/y'],
    });
    expect(credentialsOf(callerWith({}, peer), () => true).clientCertificate).toBeUndefined();
    expect([false, true].map((trusted) => addressOf(callerWith(forwarded, peer), () => trusted))).toEqual(['192.0.2.1', '203.0.113.9']);
    expect(credentialsOf(callerWith({ authorization: 'Bearer x y' }, peer), () => false)).toEqual({});
    expect(credentialsOf(callerWith({ authorization: 'bearer abc', 'x-api-key': 'k' }), () => false)).toMatchObject({
      bearer: expect.anything(),
      apiKey: expect.anything(),
    });
  });
  it('a deadline longer than timers last is taken away', () => {
    const left = (name: string, value: string) => {
      const headers: Record<string, string> = { [name]: value };
      withoutLongDeadline({ headers } as never);
      return headers[name];
    };
    expect(['596H', '597H', '99999999S', '2147483S', 'x'].map((value) => left('grpc-timeout', value))).toEqual([
      '596H',
      undefined,
      undefined,
      '2147483S',
      'x',
    ]);
    expect(['1000', '9999999999'].map((value) => left('connect-timeout-ms', value))).toEqual(['1000', undefined]);
  });
});
