import type { X509Certificate } from 'node:crypto';
import type { ClientCertificate } from './authenticator.ts';

/**
 * The certificate of a TLS peer, as authenticators want it: `socket.getPeerX509Certificate()`, when `socket.authorized`.
 *
 * Node writes alternative names in one line and puts those that hold a comma, a quote or an unprintable character into quotes. Such names are left out:
 * none that anybody trusts looks like that, and reading them is where others went wrong (CVE-2021-44532).
 */
export function peerCertificate(certificate: X509Certificate): ClientCertificate {
  const names = (certificate.subjectAltName ?? '').replaceAll(/[A-Za-z ]+:"(?:[^"\\]|\\.)*"/g, '').split(', ');
  const named = (kind: string): readonly string[] => names.filter((name) => name.startsWith(kind)).map((name) => name.slice(kind.length));
  return {
    subject: certificate.subject.replaceAll('\n', ', '),
    uris: named('URI:'),
    dnsNames: named('DNS:'),
    fingerprintSha256: certificate.fingerprint256,
  };
}
