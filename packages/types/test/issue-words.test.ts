import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import * as types from '../src/index.ts';
import {
  BifrostError,
  createTailnetRequestSchema,
  explainRequestSchema,
  type Issue,
  parseOrThrow,
  upgradeSidecarsRequestSchema,
} from '../src/index.ts';

const tailnet = { customerId: 'customer-123', tailnetName: 'acme-corp-production', config: { allowedNetworks: ['10.0.0.0/8'] } };

/** What is refused, if it is. */
function refusals(schema: z.ZodType, value: unknown): readonly Issue[] {
  try {
    parseOrThrow(schema, value, 'INVALID_ARGUMENT');
    return [];
  } catch (error) {
    if (BifrostError.is(error)) return error.issues;
    throw error;
  }
}

describe('what is wanted is said in our words', () => {
  const said = (schema: z.ZodType, value: unknown) => refusals(schema, value).map(({ path, message }) => `${path}: ${message}`);
  const many = { ...tailnet, config: { allowedNetworks: Array(1001).fill('10.0.0.0/8') } };
  it.each<[string, z.ZodType, unknown, readonly string[]]>([
    ['no request', createTailnetRequestSchema, undefined, [': must be an object']],
    ['a list as request', createTailnetRequestSchema, [], [': must be an object']],
    ['nothing', createTailnetRequestSchema, {}, ['customerId: is needed', 'tailnetName: is needed', 'config: is needed']],
    ['too many', createTailnetRequestSchema, many, ['config.allowedNetworks: must have at most 1000 items']],
    [
      'other kinds',
      createTailnetRequestSchema,
      { customerId: 7, tailnetName: null, config: { allowedNetworks: '10.0.0.0/8', enableLogging: 'yes' } },
      [
        'customerId: must be text',
        'tailnetName: must be text',
        'config.allowedNetworks: must be a list',
        'config.enableLogging: must be true or false',
      ],
    ],
    ['no such word', createTailnetRequestSchema, { ...tailnet, tenancy: 'theirs' }, ['tenancy: must be one of customer-owned, organization, shared']],
    ['too long', explainRequestSchema, { sidecarId: 'x'.repeat(65), to: '10.0.0.1' }, ['sidecarId: must have at most 64 characters']],
    ['empty', explainRequestSchema, { sidecarId: '', to: '10.0.0.1' }, ['sidecarId: must not be empty']],
    ['too small', upgradeSidecarsRequestSchema, { tailnetName: 'a', waveSize: 0 }, ['waveSize: must be at least 1']],
    ['too large', upgradeSidecarsRequestSchema, { tailnetName: 'a', waveSize: 1001 }, ['waveSize: must be at most 1000']],
    ['a part of a number', upgradeSidecarsRequestSchema, { tailnetName: 'a', waveSize: 1.5 }, ['waveSize: must be a whole number']],
    // What a schema says itself goes before it.
    ['a schema’s own words', explainRequestSchema, { sidecarId: 'x', to: '10.0.0.1', port: '443' }, ['port: must be a whole number from 1 to 65535']],
  ])('%s', (_, schema, value, expected) => expect(said(schema, value)).toEqual(expected));

  it('of every schema and every kind of value', () => {
    const schemas = (Object.values(types) as readonly unknown[]).filter(
      (value): value is z.ZodType => value instanceof Object && 'safeParse' in value,
    );
    expect(schemas.length).toBeGreaterThan(10);
    const values = [
      undefined,
      null,
      7,
      1.5,
      -1,
      Number.NaN,
      1e20,
      'x',
      '',
      'x'.repeat(10_000),
      true,
      [],
      [7],
      {},
      new Date(Number.NaN),
      Symbol.iterator,
      7n,
    ];
    const names = [...new Set(schemas.flatMap((schema) => refusals(schema, {}).map(({ path }) => path.split('.')[0] ?? '')))];
    const objects = values.map((value) => Object.fromEntries([...names, 'config', 'tags', 'port', 'reason', 'peers'].map((name) => [name, value])));
    const messages = schemas.flatMap((schema) => [...values, ...objects].flatMap((value) => refusals(schema, value).map(({ message }) => message)));
    expect(messages.length).toBeGreaterThan(1_000);
    expect(
      [...new Set(messages)].filter((message) => /invalid|expected|received|too (?:big|small)|unrecognized|undefined|NaN/i.test(message)),
    ).toEqual([]);
  });
});
