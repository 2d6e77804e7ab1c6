import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Issued {
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority of one test: its files go with it. */
export class Authority implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'bifrost-authority-'));
  readonly cert: string;

  constructor(name: string) {
    this.#openssl('req', '-x509', ...this.#newKey('ca'), '-subj', `/CN=${name}`, '-days', '2', '-out', this.#file('ca.crt'));
    this.cert = this.#read('ca.crt');
  }

  /** `names` as openssl has them: `IP:127.0.0.1`, `URI:spiffe://...`. */
  issue(name: string, names: string): Issued {
    writeFileSync(this.#file('names'), `subjectAltName=${names}\n`);
    this.#openssl('req', '-new', ...this.#newKey(name), '-subj', `/CN=${name}`, '-out', this.#file('csr'));
    const signed = ['x509', '-req', '-in', this.#file('csr'), '-CA', this.#file('ca.crt'), '-CAkey', this.#file('ca.key'), '-CAcreateserial'];
    this.#openssl(...signed, '-days', '1', '-extfile', this.#file('names'), '-out', this.#file(`${name}.crt`));
    return { cert: this.#read(`${name}.crt`), key: this.#read(`${name}.key`) };
  }

  #newKey(name: string): readonly string[] {
    return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', this.#file(`${name}.key`)];
  }

  #file(name: string): string {
    return join(this.#folder, name);
  }

  #read(name: string): string {
    return readFileSync(this.#file(name), 'utf8');
  }

  #openssl(...args: readonly string[]): void {
    execFileSync('openssl', args, { stdio: 'ignore' });
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}
