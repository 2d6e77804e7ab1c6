import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { streamAuditSink, streamLogger } from '@bifrost/sdk';
import { createReportHandler } from '@bifrost/sdk/server';
import { tailscaleControlPlane } from '@bifrost/sdk/tailscale';
import { Books } from './books.ts';
import { Controller } from './controller.ts';
import { openDoor } from './door.ts';
import { type Environment, readEnvironment } from './environment.ts';
import { startManager } from './network.ts';

const PORT = 8443;

const environment = readEnvironment(process.env);
if ('missing' in environment) {
  process.stderr.write(`book-controller: set ${environment.missing.join(', ')}\n`);
  process.exit(2);
}
await serve(environment);

/** Until a signal: this file alone owns the process. What was started last ends first; what is attached stays attached. */
async function serve({ tailscaleImage, agentImage, ingestUrl, tlsDirectory, namespace, heartbeatMs, ...control }: Environment): Promise<void> {
  const logger = streamLogger(process.stderr);
  let heard = (_id: string): void => {};
  await using manager = await startManager(
    {
      controlPlane: tailscaleControlPlane({
        ...(control.controlUrl === undefined ? {} : { baseUrl: control.controlUrl }),
        ...(control.loginServer === undefined ? {} : { loginServer: control.loginServer }),
      }),
      images: { tailscale: tailscaleImage, agent: agentImage },
      ingest: { url: ingestUrl, caBundle: readFileSync(join(tlsDirectory, 'ca.crt'), 'utf8') },
      systemNamespace: namespace,
      heartbeatMs,
      silenceMs: Math.max(8_000, Math.round(heartbeatMs * 3.5)),
      audit: streamAuditSink(process.stdout),
      logger,
      ...(control.loginServer === undefined ? {} : { loginServer: control.loginServer }),
    },
    (id) => heard(id),
  );
  await using controller = new Controller({ books: new Books(), manager, logger });
  heard = (id) => controller.heard(id);
  using _door = openDoor({ directory: tlsDirectory, port: PORT, handler: createReportHandler(manager) });
  controller.start();
  logger.log('info', 'book controller is up', { ...manager.adapters });
  const signal = await new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve);
  });
  logger.log('info', 'stopping', { signal });
}
