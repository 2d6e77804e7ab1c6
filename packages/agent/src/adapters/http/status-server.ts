import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BifrostError } from '@bifrost/types/core';
import type { OpenStatusServer, StatusSource } from '../../ports/status-server.ts';
import { codeOf } from './call.ts';

const JSON_TYPE = 'application/json';
type Answer = readonly [status: number, type: string, body: string];

function answer(method: string | undefined, path: string | undefined, source: StatusSource): Answer {
  if (method !== 'GET' && method !== 'HEAD') return [405, JSON_TYPE, '{"error":"method-not-allowed"}'];
  switch (path?.split('?', 1)[0]) {
    case '/healthz':
      return [200, JSON_TYPE, '{"healthy":true}'];
    case '/readyz': {
      const reason = source.notReady();
      return reason === undefined ? [200, JSON_TYPE, '{"ready":true}'] : [503, JSON_TYPE, `{"ready":false,"reason":"${reason}"}`];
    }
    case '/daemon': // always 200, so that a probe can tell "wedged" from an agent that is away: only the word may kill the daemon
      return [200, 'text/plain; charset=utf-8', source.isDaemonWedged() ? 'wedged' : 'ok'];
    case '/metrics':
      return [200, 'text/plain; version=0.0.4; charset=utf-8', source.metrics()];
    default:
      return [404, JSON_TYPE, '{"error":"not-found"}'];
  }
}

function respond(incoming: IncomingMessage, response: ServerResponse, source: StatusSource): void {
  const [status, type, body] = answer(incoming.method, incoming.url, source);
  incoming.resume();
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), ...(status === 405 ? { allow: 'GET, HEAD' } : {}) });
  response.end(incoming.method === 'HEAD' ? undefined : body);
}

/** Serves the agent's own state on one address. */
export function statusServerAt(listen: { readonly host: string; readonly port: number }): OpenStatusServer {
  return (source) =>
    new Promise((resolve, reject) => {
      const server = createServer({ headersTimeout: 5000, requestTimeout: 5000, keepAliveTimeout: 5000 }, (incoming, response) =>
        respond(incoming, response, source),
      );
      server.maxConnections = 32;
      server.on('error', (error) => {
        reject(new BifrostError({ code: 'INVALID_OPTIONS', message: `cannot listen on the status address (${codeOf(error)})`, cause: error }));
      });
      server.listen(listen.port, listen.host, () => {
        resolve({
          port: (server.address() as AddressInfo).port,
          [Symbol.asyncDispose]: () =>
            new Promise<void>((closed) => {
              server.close(() => closed());
              server.closeAllConnections();
            }),
        });
      });
    });
}
