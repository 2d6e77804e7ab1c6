import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Answer = (response: ServerResponse, incoming: IncomingMessage) => void;

export const json =
  (value: unknown, status = 200): Answer =>
  (response) =>
    response.writeHead(status).end(JSON.stringify(value));
export const reset: Answer = (_, incoming) => void incoming.socket.destroy();
export const hang: Answer = () => {};

const GATE = {
  ID: 'nGATE',
  DNSName: 'gate.tail1.ts.net.',
  TailscaleIPs: ['100.64.0.2'],
  AllowedIPs: ['100.64.0.2/32', '10.1.0.0/24'],
  CurAddr: '192.0.2.7:41641',
  Online: true,
};
const STATUS = { BackendState: 'Running', TailscaleIPs: ['100.64.0.1'], Self: { ID: 'nBOOK', Relay: 'sim', Online: true }, Peer: { k: GATE } };

/** As much of a LocalAPI as a client needs to be tried: each endpoint answers as `answers` says, once as `next` says. `test/` tries it on the simulator. */
export async function fakeDaemon() {
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-agent-'));
  const socketPath = join(folder, 's.sock');
  const answers: Record<string, Answer> = { status: json(STATUS), ping: json({ Err: '', LatencySeconds: 0.007, Endpoint: 'x' }) };
  const next: Answer[] = [];
  const asked: { readonly method: string | undefined; readonly url: string; readonly host: string | undefined }[] = [];
  const streams = new Set<ServerResponse>();
  answers['watch-ipn-bus'] = (response) => {
    streams.add(response);
    response.on('close', () => streams.delete(response)).flushHeaders();
  };
  const server = createServer((incoming, response) => {
    const { method, url = '' } = incoming;
    asked.push({ method, url, host: incoming.headers.host });
    const endpoint = /^\/localapi\/v0\/([\w-]+)/.exec(url)?.[1] ?? '';
    const answer = next.shift() ?? answers[endpoint] ?? json({}, 404);
    answer(response, incoming);
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return {
    ...{ socketPath, answers, next, asked, streams, stop },
    say: (line: string) => streams.forEach((stream) => void stream.write(`${line}\n`)),
    async [Symbol.asyncDispose]() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
