import { readFileSync, watch } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';

/** Agents report every ten seconds or so: a connection that closes between reports would cost a TLS handshake each time. */
const KEEP_ALIVE_MS = 75_000;

/** The HTTPS door: `GET /healthz` for the kubelet, everything else to `handler`. The certificate is read again when the kubelet renews it. */
export function openDoor({
  directory,
  port,
  handler,
}: {
  readonly directory: string;
  readonly port: number;
  readonly handler: RequestListener;
}): Disposable {
  const tls = () => ({ cert: readFileSync(join(directory, 'tls.crt')), key: readFileSync(join(directory, 'tls.key')) });
  const server = createServer({ ...tls(), keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) =>
    request.url === '/healthz' ? response.end('ok') : handler(request, response),
  ).listen(port);
  const watcher = watch(directory, () => server.setSecureContext(tls()));
  return {
    [Symbol.dispose]() {
      watcher.close();
      server.close();
      server.closeAllConnections();
    },
  };
}
