import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Files and content of a client's certificate. */
export interface ClientIdentity {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
  /** In hex, without colons, as Envoy writes it. */
  readonly fingerprintSha256: string;
}

const LAB = '/run/bifrost-lab/tls/ca';
/** The authority that Envoy and service trust. */
export const AUTHORITY_FILE = `${LAB}.crt`;
export const authority = (): string => readFileSync(AUTHORITY_FILE, 'utf8');

/** Clients' certificates; their files go with it. */
export class Certificates implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'bifrost-lab-clients-'));

  /** By the lab's authority, or by one of the same name that nobody trusts. */
  issue(uri: string, { trusted = true }: { readonly trusted?: boolean } = {}): ClientIdentity {
    const file = (name: string): string => join(this.#folder, `${uri.replaceAll(/\W+/g, '-')}-${trusted}.${name}`);
    const newKey = (name: string) => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file(name)];
    if (!trusted) openssl('req', '-x509', ...newKey('ca.key'), '-subj', '/CN=lab authority', '-days', '1', '-out', file('ca.crt'));
    const ca = trusted ? LAB : file('ca');
    writeFileSync(file('names'), `subjectAltName=URI:${uri}\nextendedKeyUsage=clientAuth\n`);
    openssl('req', '-new', ...newKey('key'), '-subj', '/CN=client', '-out', file('csr'));
    const signing = ['-CA', `${ca}.crt`, '-CAkey', `${ca}.key`, '-set_serial', String(Date.now()), '-days', '1', '-extfile', file('names')];
    openssl('x509', '-req', '-in', file('csr'), ...signing, '-out', file('crt'));
    const [cert, key] = [readFileSync(file('crt'), 'utf8'), readFileSync(file('key'), 'utf8')];
    const fingerprintSha256 = new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase();
    return { certFile: file('crt'), keyFile: file('key'), cert, key, fingerprintSha256 };
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: 'ignore' });
}
