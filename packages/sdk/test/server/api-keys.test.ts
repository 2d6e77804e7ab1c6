import { createHash } from 'node:crypto';
import { Secret } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { type ApiKeyEntry, apiKeyAuthenticator, createApiKey } from '../../src/server/auth/api-keys.ts';
import { ManualClock } from '../../src/testing/manual-clock.ts';
import { printed, refusalOf, soon, wrongPaths } from './support/caught.ts';

function keyOf(id: string, more: Partial<ApiKeyEntry> = {}) {
  const { key, sha256 } = createApiKey({ id });
  return { key, entry: { id, sha256, subject: id, roles: ['operator:customer-123'], ...more } };
}

describe('API keys', () => {
  it('a new key is known by its hash, in its header or as a bearer token', async () => {
    const { key, entry } = keyOf('billing');
    expect(key.reveal()).toMatch(/^bfk_billing_[A-Za-z0-9_-]{43}$/);
    const secretPart = key.reveal().slice('bfk_billing_'.length);
    expect(entry.sha256).toBe(createHash('sha256').update(secretPart).digest('hex')); // what `sha256sum` gives
    const authenticator = apiKeyAuthenticator({ keys: [entry] });
    const wanted = { subject: 'billing', via: 'api-key', grants: [{ role: 'operator', customers: ['customer-123'] }] };
    expect(await authenticator.authenticate({ apiKey: key }, soon())).toEqual(wanted);
    expect(await authenticator.authenticate({ bearer: key }, soon())).toEqual(wanted);
    expect(await authenticator.authenticate({ bearer: new Secret('ey.no.key'), apiKey: key }, soon())).toEqual(wanted);
  });

  it('no two keys are alike', () => {
    const made = Array.from({ length: 1_000 }, () => createApiKey({ id: 'a' }).key.reveal());
    expect(new Set(made).size).toBe(1_000);
  });

  it('nothing else is a key', async () => {
    const { key, entry } = keyOf('billing');
    const other = keyOf('other');
    const authenticator = apiKeyAuthenticator({ keys: [entry] });
    const text = key.reveal();
    const last = text.endsWith('A') ? 'B' : 'A';
    const secretPart = text.slice('bfk_billing_'.length);
    const wrong = [
      '',
      'bfk_',
      text.slice(0, -1),
      `${text}A`,
      text.slice(0, -1) + last,
      ` ${text}`,
      `${text}\n`,
      text.toUpperCase(),
      `bfk_billin_${secretPart}`,
    ];
    for (const one of [...wrong, `bfk_${secretPart}`, `bfk_other_${secretPart}`, entry.sha256, `bfk_billing_${entry.sha256}`, other.key.reveal()])
      expect(await authenticator.authenticate({ apiKey: new Secret(one) }, soon()), one).toBeUndefined();
    expect(await authenticator.authenticate({}, soon())).toBeUndefined();
  });

  it('the hash of the key may be in capitals', async () => {
    const { key, entry } = keyOf('billing');
    const authenticator = apiKeyAuthenticator({ keys: [{ ...entry, sha256: entry.sha256.toUpperCase() }] });
    expect(await authenticator.authenticate({ apiKey: key }, soon())).toBeDefined();
  });

  it('a key ends at its time', async () => {
    const clock = new ManualClock({ startMs: Date.parse('2027-01-30T23:59:59.999Z') });
    const { key, entry } = keyOf('billing', { expiresAt: '2027-01-31T01:00:00+01:00' });
    const authenticator = apiKeyAuthenticator({ keys: [entry], clock });
    expect(await authenticator.authenticate({ apiKey: key }, soon())).toBeDefined();
    await clock.advance(1);
    expect(await authenticator.authenticate({ apiKey: key }, soon())).toBeUndefined();
  });

  it('replaced keys end at once; keys that are wrong replace nothing', async () => {
    const [first, second] = [keyOf('first'), keyOf('second')];
    const authenticator = apiKeyAuthenticator({ keys: [first.entry] });
    authenticator.replace([second.entry]);
    expect(await authenticator.authenticate({ apiKey: first.key }, soon())).toBeUndefined();
    expect(await authenticator.authenticate({ apiKey: second.key }, soon())).toBeDefined();
    expect(await wrongPaths(() => authenticator.replace([first.entry, { ...first.entry, id: 'third', sha256: 'x' }]))).toEqual(['keys.1.sha256']);
    expect(await authenticator.authenticate({ apiKey: second.key }, soon())).toBeDefined();
    expect(await authenticator.authenticate({ apiKey: first.key }, soon())).toBeUndefined();
    authenticator.replace([]);
    expect(await authenticator.authenticate({ apiKey: second.key }, soon())).toBeUndefined();
  });

  it('options: each wrong field has its path', async () => {
    const { entry } = keyOf('billing');
    const wrong = { id: 'a_b', sha256: 'zz', subject: 'a\nb', roles: ['root:*'], expiresAt: 'tomorrow', secret: 'x' };
    expect([...(await wrongPaths(() => apiKeyAuthenticator({ keys: [entry, wrong] })))].sort()).toEqual(
      ['expiresAt', 'id', 'roles.0', 'secret', 'sha256', 'subject'].map((name) => `keys.1.${name}`),
    );
    expect(await wrongPaths(() => apiKeyAuthenticator({ keys: [entry, { ...entry, subject: 'twin' }] }))).toEqual(['keys.1.id']);
    expect(await wrongPaths(() => apiKeyAuthenticator(undefined as never))).toEqual(['']);
    expect(await wrongPaths(() => createApiKey({ id: 'No' }))).toEqual(['id']);
  });

  it('a key is in no error, and in no principal', async () => {
    const { key, entry } = keyOf('billing');
    const canary = key.reveal();
    const secretPart = canary.slice('bfk_billing_'.length);
    const authenticator = apiKeyAuthenticator({ keys: [entry] });
    const error = await refusalOf(() =>
      authenticator.replace([{ ...entry, id: canary, sha256: canary, roles: [canary], subject: canary.repeat(9) }]),
    );
    const said = [error, await authenticator.authenticate({ apiKey: key }, soon()), authenticator, createApiKey({ id: 'b' })].map(printed).join('\n');
    expect(said).not.toContain(secretPart);
  });

  it('an aborted call rejects with the reason itself', async () => {
    const reason = new Error('the caller left');
    const { key, entry } = keyOf('billing');
    await expect(apiKeyAuthenticator({ keys: [entry] }).authenticate({ apiKey: key }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
