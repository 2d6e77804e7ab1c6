import { once } from 'node:events';
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Below those that the system hands out by itself: such a one may be another's connection in the moment until a program listens on it. */
const [LOWEST, HIGHEST] = [12_000, 32_000];
/** Whoever claimed a port listens on it by then, or never will. */
const CLAIMED_FOR_MS = 3_600_000;
const folder = join(tmpdir(), 'bifrost-ports');

/** A port of loopback for a program that cannot choose one itself. Nobody listens on it, and no other test of this machine gets it. */
export async function freePort(): Promise<number> {
  mkdirSync(folder, { recursive: true });
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (claim(join(folder, String(port))) && (await isFree(port))) return port;
  }
}

function claim(file: string): boolean {
  try {
    writeFileSync(file, '', { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const { mtimeMs = Number.POSITIVE_INFINITY } = statSync(file, { throwIfNoEntry: false }) ?? {};
    if (Date.now() - mtimeMs > CLAIMED_FOR_MS) rmSync(file, { force: true });
    return false;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
