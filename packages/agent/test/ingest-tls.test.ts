import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { HttpIngest } from '../src/adapters/http/ingest.ts';
import { first, second } from './support/certificates.ts';

const { signal } = new AbortController();

it('HttpIngest over TLS: trusts only the given certificates, as they are at each use', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-ingest-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const server = createServer({ key: first.key, cert: first.certificate }, (incoming, response) => {
    incoming.resume();
    response.end('{"v":1,"next_heartbeat_ms":5000}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close().closeAllConnections());
  const caFile = join(folder, 'ca.crt');
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'token');
  const url = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}/v1/reports`);
  await using ingest = new HttpIngest({ url, tokenFile, caFile, agentVersion: '0' });
  const send = () => ingest.send('{}', { signal });

  expect(await send()).toEqual({ kind: 'later', reason: 'ca-missing' });
  writeFileSync(caFile, first.certificate);
  expect(await send()).toEqual({ kind: 'taken', nextHeartbeatMs: 5000 });

  // The certificate changes before the new one is spread: refused, then taken without a restart.
  server.setSecureContext({ key: second.key, cert: second.certificate });
  server.closeAllConnections();
  expect(await send()).toMatchObject({ kind: 'later', reason: expect.stringMatching(/SELF_SIGNED|UNABLE_TO_VERIFY/) });
  writeFileSync(caFile, first.certificate + second.certificate);
  expect(await send()).toEqual({ kind: 'taken', nextHeartbeatMs: 5000 });

  await using untrusting = new HttpIngest({ url, tokenFile, agentVersion: '0' });
  expect(await untrusting.send('{}', { signal })).toMatchObject({ kind: 'later', reason: expect.stringContaining('SELF_SIGNED') });
});
