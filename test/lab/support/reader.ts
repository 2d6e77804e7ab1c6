import { spawn } from 'node:child_process';
import type { WireAnswer, WireRequest } from '@bifrost/sdk/testing/conformance';

const NOBODY = 65_532;

/** Asks a daemon's LocalAPI as a user who is neither root nor the daemon's own: the kernel tells the daemon who asks. Needs root. */
export async function asReader(socketPath: string, { method = 'GET', path, body }: WireRequest): Promise<WireAnswer> {
  const url = `http://local-tailscaled.sock/localapi/v0/${path}`;
  const data = body === undefined ? [] : ['--data', body];
  const child = spawn('curl', ['-sS', '--max-time', '10', '--unix-socket', socketPath, '-X', method, ...data, '-w', '\n%{http_code}', url], {
    uid: NOBODY,
    gid: NOBODY,
    cwd: '/',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  const end = said.lastIndexOf('\n');
  return { status: Number(said.slice(end + 1)), headers: {}, body: said.slice(0, end) };
}
