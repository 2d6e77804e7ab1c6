import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Makes `tls.crt` and `tls.key` for 127.0.0.1 in the folder; good for a day. */
export async function certificate(folder: string): Promise<void> {
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', join(folder, 'tls.key')];
  await promisify(execFile)('openssl', ['req', '-x509', ...key, '-days', '1', ...subject, '-out', join(folder, 'tls.crt')]);
}
