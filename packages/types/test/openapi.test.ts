import { readFileSync } from 'node:fs';
import { Validator } from '@seriousme/openapi-schema-validator';
import { expect, it } from 'vitest';

const read = (): Record<string, unknown> => JSON.parse(readFileSync(new URL('../proto/openapi.json', import.meta.url), 'utf8'));

it('openapi.json is OpenAPI 3.1 by its own schema, and every reference leads somewhere', async () => {
  const validator = new Validator();
  expect(await validator.validate(read())).toMatchObject({ valid: true });
  expect(validator.version).toBe('3.1');
  expect(() => validator.resolveRefs()).not.toThrow();
  expect(await new Validator().validate({ ...read(), paths: { '/x': { get: { responses: 1 } } } })).toMatchObject({ valid: false });
});
