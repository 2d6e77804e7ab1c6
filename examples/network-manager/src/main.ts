import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Cluster, NetworkManager, streamAuditSink, streamLogger } from '@bifrost/sdk';
import { kubernetes, kubernetesCluster, kubernetesStore } from '@bifrost/sdk/kubernetes';
import { tailscaleControlPlane } from '@bifrost/sdk/tailscale';
import { openDoors } from './doors.ts';
import { type Environment, readEnvironment } from './environment.ts';

const readEnv = readEnvironment(process.env);
if ('missing' in readEnv) {
  process.stderr.write(`network-manager: set ${readEnv.missing.join(', ')}\n`);
  process.exit(2);
}
await serve(readEnv);

async function serve(environment: Environment): Promise<void> {
  const logger = streamLogger(process.stderr, { level: 'info' });
  const audit = streamAuditSink(process.stdout);
  const connection = kubernetes({ logger });
  const cluster = kubernetesCluster({ connection });
  const organization = environment.organizationSecret === undefined ? undefined : await readCredential(cluster, environment);
  await using manager = new NetworkManager({
    cluster,
    store: kubernetesStore({ connection }),
    controlPlane: tailscaleControlPlane({
      ...(environment.controlUrl === undefined ? {} : { baseUrl: environment.controlUrl }),
      ...(environment.loginServer === undefined ? {} : { loginServer: environment.loginServer }),
      ...(organization === undefined ? {} : { organization }),
    }),
    audit,
    logger,
    images: { tailscale: environment.tailscaleImage, agent: environment.agentImage },
    ingest: { url: environment.ingestUrl, caBundle: readFileSync(join(environment.tlsDirectory, 'ca.crt'), 'utf8') },
    systemNamespace: environment.namespace,
    ...(environment.sharedSecret === undefined ? {} : { sharedCredentialSecretName: environment.sharedSecret }),
    heartbeatMs: environment.heartbeatMs,
    silenceMs: environment.silenceMs,
    ...environment.settings,
    ...(environment.loginServer === undefined ? {} : { loginServer: environment.loginServer }),
  });
  await manager.start();
  await using _doors = await openDoors({ environment, manager, cluster, audit, logger });
  logger.log('info', 'network manager is up', { ...manager.adapters });
  const signal = await new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve);
  });
  logger.log('info', 'stopping', { signal });
}

async function readCredential(cluster: Cluster, { namespace, organizationSecret = '' }: Environment) {
  const secret = await cluster.secrets.get({ namespace, name: organizationSecret }, { signal: AbortSignal.timeout(15_000) });
  const [clientId, clientSecret] = [secret?.get('client_id'), secret?.get('client_secret')];
  if (clientId === undefined || clientSecret === undefined) {
    process.stderr.write(`network-manager: Secret ${namespace}/${organizationSecret} needs client_id and client_secret\n`);
    process.exit(2);
  }
  return { clientId: clientId.reveal(), clientSecret };
}
