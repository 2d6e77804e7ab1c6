import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fromWire, type ReportV1 } from '@bifrost/types/core';

export interface Taken {
  readonly report: ReportV1;
  readonly authorization: string | undefined;
}
export type Behaviour = (response: ServerResponse, taken: Taken) => void;

export const take: Behaviour = (response) => response.end(JSON.stringify({ v: 1, next_heartbeat_ms: 60_000 }));
export const refuse =
  (status: number, headers: Record<string, string> = {}): Behaviour =>
  (response) =>
    response.writeHead(status, headers).end('{}');

/** A manager's door on a free port of loopback. `behave` decides about each report; those answered 2xx are in `taken`, all are in `tried`. */
export async function ingestServer() {
  const state = { behave: take, taken: [] as Taken[], tried: [] as Taken[] };
  const server = createServer((incoming, response) => {
    let body = '';
    incoming.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    incoming.on('end', () => {
      const taken = { report: fromWire(JSON.parse(body)) as ReportV1, authorization: incoming.headers.authorization };
      state.tried.push(taken);
      response.on('finish', () => response.statusCode < 300 && state.taken.push(taken));
      state.behave(response, taken);
    });
  });
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return Object.assign(state, {
    url: new URL(`http://127.0.0.1:${port}/v1/reports`),
    down: close,
    up: () => listen(port),
    seqs: () => state.taken.map(({ report }) => report.seq),
    reasons: () => state.taken.map(({ report }) => report.reason),
    [Symbol.asyncDispose]: close,
  });
}
