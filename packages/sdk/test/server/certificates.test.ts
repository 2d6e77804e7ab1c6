import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { ClientCertificate } from '../../src/server/auth/authenticator.ts';
import { certificateAuthenticator } from '../../src/server/auth/certificates.ts';
import { forwardedCertificate } from '../../src/server/auth/forwarded-certificate.ts';
import { peerCertificate } from '../../src/server/auth/peer-certificate.ts';
import { soon, wrongPaths } from './support/caught.ts';

const HASH = 'a1'.repeat(32);
const SPIFFE = 'spiffe://example.org/ns/platform/sa/book-controller';
const shown = (change: Partial<ClientCertificate>): { clientCertificate: ClientCertificate } => ({
  clientCertificate: { subject: 'CN=book-controller', uris: [], dnsNames: [], fingerprintSha256: 'ff'.repeat(32), ...change },
});

describe('client certificates', () => {
  const authenticator = certificateAuthenticator({
    identities: [
      { uri: SPIFFE, subject: 'by-uri', roles: ['operator:*'] },
      { fingerprintSha256: HASH.toUpperCase().replace(/(..)(?=.)/g, '$1:'), subject: 'by-print', roles: ['viewer:a'] },
      { dnsName: 'Books.Example.org', subject: 'by-dns', roles: [] },
    ],
  });
  const subjectOf = async (change: Partial<ClientCertificate>) => (await authenticator.authenticate(shown(change), soon()))?.subject;

  it('are known by URI, fingerprint or DNS name, the fingerprint first', async () => {
    expect(await authenticator.authenticate(shown({ uris: [SPIFFE] }), soon())).toEqual({
      subject: 'by-uri',
      via: 'mtls',
      grants: [{ role: 'operator', customers: '*' }],
    });
    expect(await subjectOf({ fingerprintSha256: HASH })).toBe('by-print');
    expect(await subjectOf({ fingerprintSha256: HASH.replace(/(..)(?=.)/g, '$1:').toUpperCase() })).toBe('by-print');
    expect(await subjectOf({ dnsNames: ['other.example.org', 'books.EXAMPLE.org'] })).toBe('by-dns');
    expect(await subjectOf({ fingerprintSha256: HASH, uris: [SPIFFE] })).toBe('by-print');
  });

  it.each<Partial<ClientCertificate>>([
    {},
    { uris: [`${SPIFFE}/x`] },
    { uris: [SPIFFE.toUpperCase()] },
    { uris: ['books.example.org'] },
    { dnsNames: [SPIFFE] },
    { dnsNames: ['*.example.org'] },
    { dnsNames: ['x.books.example.org'] },
    { subject: SPIFFE },
    { fingerprintSha256: '' },
  ])('%j is nobody', async (change) => {
    expect(await subjectOf(change)).toBeUndefined();
    expect(await authenticator.authenticate({}, soon())).toBeUndefined();
  });

  it('options: each identity has exactly one name, and it is one', async () => {
    const given = (identity: object) => wrongPaths(() => certificateAuthenticator({ identities: [{ subject: 'a', roles: [], ...identity }] }));
    expect(await given({})).toEqual(['identities.0']);
    expect(await given({ uri: SPIFFE, dnsName: 'a' })).toEqual(['identities.0']);
    expect(await given({ dnsName: '*.example.org' })).toEqual(['identities.0.dnsName']);
    expect(await given({ uri: 'no uri' })).toEqual(['identities.0.uri']);
    expect(await given({ fingerprintSha256: 'ab' })).toEqual(['identities.0.fingerprintSha256']);
    expect(await given({ uri: SPIFFE, roles: ['admin'] })).toEqual(['identities.0.roles.0']);
    expect(await given({ uri: SPIFFE, cn: 'x' })).toEqual(['identities.0.cn']);
  });
});

describe('x-forwarded-client-cert', () => {
  it('is read as Envoy writes it', () => {
    const header = `By=spiffe://example.org/ns/bifrost/sa/envoy;Hash=${HASH};Cert="-----BEGIN%20CERTIFICATE-----%0A";Subject="CN=a\\"b,OU=x;y=z,O=\\\\";URI=${SPIFFE};DNS=books.example.org;DNS=b.example.org`;
    expect(forwardedCertificate(header)).toEqual({
      subject: 'CN=a"b,OU=x;y=z,O=\\',
      uris: [SPIFFE],
      dnsNames: ['books.example.org', 'b.example.org'],
      fingerprintSha256: HASH,
    });
    expect(forwardedCertificate(`Hash=${HASH.toUpperCase()};Subject="";URI=`)).toEqual({
      subject: '',
      uris: [],
      dnsNames: [],
      fingerprintSha256: HASH,
    });
  });

  it.each([
    ['nothing', ''],
    ['no hash', `URI=${SPIFFE}`],
    ['a short hash', `Hash=${HASH.slice(1)};URI=${SPIFFE}`],
    ['two elements', `Hash=${HASH};URI=${SPIFFE},Hash=${HASH};URI=spiffe://b`],
    ['a second element with other keys', `Hash=${HASH};URI=${SPIFFE},DNS=books.example.org`],
    ['an element before it', `,Hash=${HASH}`],
    ['a second hash', `Hash=${HASH};Hash=${HASH}`],
    ['a second URI', `Hash=${HASH};URI=spiffe://x;URI=${SPIFFE}`],
    ['an unknown key', `Hash=${HASH};Role=admin`],
    ['another case of a key', `hash=${HASH}`],
    ['a quote that does not end', `Hash=${HASH};Subject="CN=a`],
    ['text after a quote', `Hash=${HASH};Subject="CN=a"b`],
    ['an equals sign that is not quoted', `Hash=${HASH};Subject=CN=a`],
    ['a quote within', `Hash=${HASH};DNS=a"b`],
    ['a semicolon at its end', `Hash=${HASH};`],
    ['spaces', `Hash=${HASH}; URI=${SPIFFE}`],
    ['a line break', `Hash=${HASH};Subject="a\nb"`],
    ['too many names', `Hash=${HASH}${';DNS=a'.repeat(101)}`],
    ['too long', `Hash=${HASH};Subject="${'a'.repeat(16_384)}"`],
  ])('%s is no certificate', (_name, header) => {
    expect(forwardedCertificate(header)).toBeUndefined();
  });

  it('text of any kind gives nothing or one whole certificate, and does not take long', () => {
    const parts = fc.constantFrom('Hash=', HASH, ';', ',', '"', '\\', 'URI=', 'DNS=', 'Subject=', SPIFFE, '=', ' ', 'By=');
    const total = fc.property(fc.array(parts, { maxLength: 30 }), (pieces) => {
      const found = forwardedCertificate(pieces.join(''));
      if (found !== undefined) expect(found.fingerprintSha256).toBe(HASH);
    });
    expect(fc.check(total, { seed: 7, numRuns: 5_000 }).failed).toBe(false);
    const started = performance.now();
    for (const worst of ['"'.repeat(16_000), `Subject="${'\\'.repeat(16_000)}`, 'A'.repeat(16_000), 'By=;'.repeat(4_000)])
      expect(forwardedCertificate(worst)).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(200);
  });
});

describe('the certificate of a TLS peer', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-certificate-'));
  const config = join(folder, 'openssl.cnf');
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Of lines `URI.1=…`, so that a name may hold a comma. */
  const certificateWith = (...names: readonly string[]): X509Certificate => {
    const sections = ['[req]', 'distinguished_name=dn', 'x509_extensions=v3', 'prompt=no', '[dn]', 'O=Bifrost', 'CN=books', '[v3]'];
    const input = [...sections, 'subjectAltName=@alt', '[alt]', ...names, ''].join('\n');
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', '/dev/null'];
    const args = ['req', '-x509', ...key, '-days', '1', '-config', config];
    writeFileSync(config, input);
    return new X509Certificate(execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] }));
  };

  it('gives its names and the fingerprint that an identity can have', async () => {
    const certificate = certificateWith(
      `URI.1=${SPIFFE}`,
      'DNS.1=books.example.org',
      'DNS.2=b.example.org',
      'IP.1=127.0.0.1',
      'email.1=a@example.org',
    );
    const read = peerCertificate(certificate);
    expect(read).toEqual({
      subject: 'O=Bifrost, CN=books',
      uris: [SPIFFE],
      dnsNames: ['books.example.org', 'b.example.org'],
      fingerprintSha256: certificate.fingerprint256,
    });
    const authenticator = certificateAuthenticator({
      identities: [{ fingerprintSha256: certificate.fingerprint256, subject: 'books', roles: [] }],
    });
    expect((await authenticator.authenticate({ clientCertificate: read }, soon()))?.subject).toBe('books');
  });

  it('without alternative names has none', () => {
    const read = peerCertificate(certificateWith('email.1=a@example.org'));
    expect([read.uris, read.dnsNames]).toEqual([[], []]);
  });

  it.each(['URI.1=https://x/, DNS:admin.example.org', 'DNS.1=x, DNS:admin.example.org', 'DNS.1=x\\", DNS:admin.example.org'])(
    '%s: a name with a comma in it does not become two',
    (name) => {
      const read = peerCertificate(certificateWith(name, 'DNS.2=plain.example.org'));
      expect(read.dnsNames).toEqual(['plain.example.org']);
      expect(read.uris).toEqual([]);
    },
  );
});
