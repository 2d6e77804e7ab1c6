import { readFileSync, watch } from 'node:fs';
import { createServer } from 'node:https';
import { dirname, join } from 'node:path';
import type { AuditSink, Cluster, Logger, NetworkManager } from '@bifrost/sdk';
import { createApiServer, createReportHandler, type Peer } from '@bifrost/sdk/server';
import { openAccess } from './access.ts';
import type { Environment } from './environment.ts';
import { documentation } from './pages.ts';

/** Agents report every ten seconds or so: a connection that closes between reports would cost a TLS handshake each time. */
const REPORT_KEEP_ALIVE_MS = 75_000;

/** The Envoy of this pod, at the port in clear that is for it alone; who comes to the other port by `kubectl port-forward` is on loopback as well. */
const isOwnProxy = ({ address, encrypted }: Peer): boolean => !encrypted && ['127.0.0.1', '::1', '::ffff:127.0.0.1'].includes(address);

const points = (pointsPerSecond: number) => ({ pointsPerSecond, burst: 10 * pointsPerSecond });

export interface DoorParts {
  readonly environment: Environment;
  readonly manager: NetworkManager;
  readonly cluster: Cluster;
  readonly audit: AuditSink;
  readonly logger: Logger;
}

/** Opens the port of the agents' reports and those of the network API; disposing lets what is under way end. */
export async function openDoors({ environment, manager, cluster, audit, logger }: DoorParts): Promise<AsyncDisposable> {
  const file = (name: string): Buffer => readFileSync(join(environment.tlsDirectory, name));
  const tls = () => ({ cert: file('tls.crt'), key: file('tls.key'), clientCa: file('ca.crt') });
  const access = openAccess({ file: environment.accessFile, accounts: environment.apiAccounts, cluster });
  const api = createApiServer({
    ...{ manager, audit, logger, authenticator: access.authenticator, trustsPeer: isOwnProxy },
    tls: tls(),
    rateLimits: { caller: points(environment.pointsPerSecond), customer: points(2 * environment.pointsPerSecond) },
    pages: documentation(new URL('./site/', import.meta.url)),
  });
  const reports = createServer({ ...tls(), keepAliveTimeout: REPORT_KEEP_ALIVE_MS }, createReportHandler(manager)).listen(environment.reportsPort);
  await api.listen(environment.apiPort, '::');
  if (environment.proxyPort !== 0) await api.listenInClear(environment.proxyPort);
  const attempt = (failure: string, work: () => void) => (): void => {
    try {
      work();
    } catch (error) {
      logger.log('error', failure, { error: error instanceof Error ? error.message : '' });
    }
  };
  const renew = attempt('a renewed certificate was not taken up', () => {
    reports.setSecureContext(tls());
    api.setTls(tls());
  });
  // The kubelet swaps the mounted folders when what is in them changes.
  const watchers = [watch(environment.tlsDirectory, renew)];
  if (environment.accessFile !== undefined)
    watchers.push(watch(dirname(environment.accessFile), attempt('the access file was not read again', access.reload)));
  return {
    async [Symbol.asyncDispose]() {
      for (const watcher of watchers) watcher.close();
      await api.close();
      reports.close();
      reports.closeAllConnections();
    },
  };
}
