import { readFileSync, watch } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { NetworkManager, type Secret, streamAuditSink, streamLogger } from '@bifrost/sdk';
import { kubernetes, kubernetesCluster, kubernetesStore } from '@bifrost/sdk/kubernetes';
import { createReportHandler } from '@bifrost/sdk/server';
import { tailscaleControlPlane } from '@bifrost/sdk/tailscale';
import { createApiHandler } from './api.ts';
import { type Environment, readEnvironment } from './environment.ts';

const REPORT_KEEP_ALIVE_MS = 75_000;

const readEnv = readEnvironment(process.env);
if ('missing' in readEnv) {
  process.stderr.write(`network-manager: set ${readEnv.missing.join(', ')}\n`);
  process.exit(2);
}
await serve(readEnv);

async function serve(environment: Environment): Promise<void> {
  const logger = streamLogger(process.stderr, { level: 'info' });
  const connection = kubernetes({ logger });
  const cluster = kubernetesCluster({ connection });
  const organization = environment.organizationSecret === undefined ? undefined : await readCredential(environment.organizationSecret);
  const tls = () => ({ cert: readFileSync(join(environment.tlsDirectory, 'tls.crt')), key: readFileSync(join(environment.tlsDirectory, 'tls.key')) });
  await using manager = new NetworkManager({
    cluster,
    store: kubernetesStore({ connection }),
    controlPlane: tailscaleControlPlane({
      ...(environment.controlUrl === undefined ? {} : { baseUrl: environment.controlUrl }),
      ...(organization === undefined ? {} : { organization }),
    }),
    audit: streamAuditSink(process.stdout),
    logger,
    images: { tailscale: environment.tailscaleImage, agent: environment.agentImage },
    ingest: { url: environment.ingestUrl, caBundle: readFileSync(join(environment.tlsDirectory, 'ca.crt'), 'utf8') },
    systemNamespace: environment.namespace,
    heartbeatMs: environment.heartbeatMs,
    silenceMs: environment.silenceMs,
    ...environment.settings,
    ...(environment.loginServer === undefined ? {} : { loginServer: environment.loginServer }),
  });
  await manager.start();
  const authenticate = async (token: Secret, signal: AbortSignal): Promise<string | undefined> => {
    const identity = await cluster.identities.reviewPodToken(token, { signal });
    const subject = identity && `system:serviceaccount:${identity.namespace}:${identity.serviceAccount}`;
    return subject !== undefined && environment.apiSubjects.includes(subject) ? subject : undefined;
  };
  // Agents report every ten seconds or so: a connection that closes between reports would cost a TLS handshake each time.
  const reports = createServer({ ...tls(), keepAliveTimeout: REPORT_KEEP_ALIVE_MS }, createReportHandler(manager)).listen(environment.reportsPort);
  const api = createServer(tls(), createApiHandler(manager, authenticate)).listen(environment.apiPort);
  // The kubelet swaps the mounted folder when the certificate is renewed.
  const watcher = watch(environment.tlsDirectory, () => {
    for (const server of [reports, api]) server.setSecureContext(tls());
  });
  logger.log('info', 'network manager is up', { ...manager.adapters });
  const signal = await new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve);
  });
  logger.log('info', 'stopping', { signal });
  watcher.close();
  for (const server of [reports, api]) {
    server.close();
    server.closeAllConnections();
  }

  async function readCredential(secretName: string) {
    const secret = await cluster.secrets.get({ namespace: environment.namespace, name: secretName }, { signal: AbortSignal.timeout(15_000) });
    const [clientId, clientSecret] = [secret?.get('client_id'), secret?.get('client_secret')];
    if (clientId === undefined || clientSecret === undefined) {
      process.stderr.write(`network-manager: Secret ${environment.namespace}/${secretName} needs client_id and client_secret\n`);
      process.exit(2);
    }
    return { clientId: clientId.reveal(), clientSecret };
  }
}
