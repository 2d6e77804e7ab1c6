import type { ClientCertificate } from './authenticator.ts';

const MAX_LENGTH = 16_384;
const MAX_DNS_NAMES = 100;
/** One `Key=Value` with what follows it. A value that holds a comma, a semicolon or an equals sign is quoted. */
const PAIR = /([A-Za-z]{1,16})=(?:"((?:[^"\\]|\\.)*)"|([^",;=]*))(;|,|$)/y;
const KEYS: ReadonlySet<string> = new Set(['By', 'Hash', 'Cert', 'Chain', 'Subject', 'URI', 'DNS']);
const REPEATED: ReadonlySet<string> = new Set(['By', 'DNS']);

/** The values by key, or undefined for what is not one element of the header. */
function pairsOf(header: string): ReadonlyMap<string, readonly string[]> | undefined {
  const pairs = new Map<string, string[]>();
  PAIR.lastIndex = 0;
  for (;;) {
    const match = PAIR.exec(header);
    const [, key = '', quoted, plain = '', end] = match ?? [];
    const values = pairs.get(key) ?? [];
    if (match === null || end === ',' || !KEYS.has(key) || (values.length > 0 && !REPEATED.has(key)) || values.length >= MAX_DNS_NAMES) {
      return undefined;
    }
    pairs.set(key, [...values, quoted === undefined ? plain : quoted.replaceAll(/\\(["\\])/g, '$1')]);
    if (end === '') return pairs;
  }
}

/**
 * Reads the header `x-forwarded-client-cert` as Envoy writes it with `forward_client_cert_details: SANITIZE_SET`: one element, of the certificate that
 * Envoy itself has verified. Undefined for anything else: longer than 16 KiB, more than one element (then somebody before Envoy wrote some of them),
 * a key that is unknown, given twice, or without its value's closing quote, no hash.
 *
 * Envoy does not quote URIs, so a URI in a certificate that holds a semicolon reads like further keys. That is why more than one URI is refused, and
 * why a CA that signs whatever names it is asked for must not be trusted with identities by URI or DNS name: name its certificates by fingerprint.
 *
 * Use it only for a peer that is trusted: anybody can write a header.
 */
export function forwardedCertificate(header: string): ClientCertificate | undefined {
  if (header.length > MAX_LENGTH || !/^[\x20-\x7e\x80-\xff]+$/.test(header)) return undefined;
  const pairs = pairsOf(header);
  const [fingerprintSha256 = ''] = pairs?.get('Hash') ?? [];
  if (pairs === undefined || !/^[0-9a-f]{64}$/i.test(fingerprintSha256)) return undefined;
  const named = (key: string): readonly string[] => (pairs.get(key) ?? []).filter((value) => value !== ''); // Envoy writes `URI=` where there is none
  return {
    subject: pairs.get('Subject')?.[0] ?? '',
    uris: named('URI'),
    dnsNames: named('DNS'),
    fingerprintSha256: fingerprintSha256.toLowerCase(),
  };
}
