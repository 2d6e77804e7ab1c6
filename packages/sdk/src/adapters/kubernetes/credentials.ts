import { createHash } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { BifrostError } from '@bifrost/types/core';
import type { KubeConfig } from '@kubernetes/client-node/dist/config.js';

/** Where the API server is, and who we are there. */
export interface CredentialOptions {
  /** Path of a kubeconfig or its text. Unset: where kubectl looks (KUBECONFIG, ~/.kube/config), else the pod's own ServiceAccount. */
  readonly kubeconfig?: string;
  /** Name of a context in it; unset: its current one. */
  readonly context?: string;
}

/** How to reach one API server at the moment. */
export interface Credentials {
  readonly origin: string;
  /** Before every path, e.g. `/k8s/clusters/c-1`; mostly empty. */
  readonly pathPrefix: string;
  readonly proxyUrl: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsOptions;
  /** Changes when a new connection pool is needed. */
  readonly poolKey: string;
}

export interface TlsOptions extends Pick<SecureContextOptions, 'ca' | 'cert' | 'key' | 'pfx' | 'passphrase'> {
  readonly rejectUnauthorized?: boolean;
  readonly servername?: string;
}

/** Gives credentials that are at most {@link REFRESH_MS} old. */
export interface CredentialSource {
  current(): Promise<Credentials>;
  /** Reads everything anew: the kubeconfig, token files, exec plugins. For use after a 401. */
  renew(): Promise<Credentials>;
}

/** Rotated tokens and certificates are seen within this time, as kubelet and client-go promise it. */
export const REFRESH_MS = 10_000;

/** @param nowMs any clock in milliseconds that does not run backwards. */
export function createCredentialSource(options: CredentialOptions, nowMs: () => number): CredentialSource {
  let config: KubeConfig | undefined;
  let known: { readonly credentials: Credentials; readonly readAtMs: number } | undefined;
  let reading: Promise<Credentials> | undefined;

  const read = async (): Promise<Credentials> => {
    try {
      config ??= await loadConfig(options);
      const credentials = await readCredentials(config);
      known = { credentials, readAtMs: nowMs() };
      return credentials;
    } catch (error) {
      if (known === undefined) throw error;
      // A token file is missing for a moment while it is replaced: what we have may still be good, and a 401 will tell.
      known = { credentials: known.credentials, readAtMs: nowMs() };
      return known.credentials;
    }
  };
  const readOnce = (): Promise<Credentials> => {
    reading ??= read().finally(() => {
      reading = undefined;
    });
    return reading;
  };
  return {
    async current() {
      return known !== undefined && nowMs() - known.readAtMs < REFRESH_MS ? known.credentials : readOnce();
    },
    async renew() {
      await reading?.catch(() => undefined);
      config = undefined;
      return readOnce();
    },
  };
}

/**
 * Only `dist/config.js` of the client library, and only when a cluster is really used: it loads in half the time of the whole library
 * (the generated API classes come with it all the same), and reads kubeconfig files, exec plugins, OIDC and token files as kubectl does.
 */
async function loadConfig({ kubeconfig, context }: CredentialOptions): Promise<KubeConfig> {
  const library = await import('@kubernetes/client-node/dist/config.js');
  const config = new library.KubeConfig();
  try {
    if (kubeconfig === undefined) config.loadFromDefault();
    else if (isText(kubeconfig)) config.loadFromString(kubeconfig);
    else config.loadFromFile(kubeconfig);
  } catch (error) {
    throw invalid(`the kubeconfig cannot be read${systemCode(error)}`); // no cause: a parser quotes what it read
  }
  if (context !== undefined) config.setCurrentContext(context);
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw invalid('the kubeconfig names no cluster for its context; set `context`');
  if (cluster.server.startsWith('http:') && !cluster.skipTLSVerify) {
    throw invalid('no kubeconfig and no ServiceAccount was found, or its server is plain http without insecure-skip-tls-verify');
  }
  return config;
}

const isText = (kubeconfig: string): boolean => /[\n{]/.test(kubeconfig);

interface RequestOptions {
  headers?: Record<string, unknown>;
  auth?: string;
  ca?: TlsOptions['ca'];
  cert?: TlsOptions['cert'];
  key?: TlsOptions['key'];
  pfx?: TlsOptions['pfx'];
  passphrase?: string;
  rejectUnauthorized?: boolean;
  servername?: string;
}

async function readCredentials(config: KubeConfig): Promise<Credentials> {
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw invalid('the kubeconfig names no cluster for its context');
  const found: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(found as Parameters<KubeConfig['applyToHTTPSOptions']>[0]);
  } catch (error) {
    // No cause: what an exec plugin or a token endpoint printed may hold the token.
    throw new BifrostError({
      code: 'CLUSTER_UNAVAILABLE',
      message: `credentials for the API server cannot be had${systemCode(error)}; check the kubeconfig's user`,
    });
  }
  const server = serverUrl(cluster.server);
  const tls = tlsOf(found);
  const proxyUrl = cluster.proxyUrl === '' ? undefined : cluster.proxyUrl;
  if (proxyUrl?.startsWith('socks')) throw invalid('the kubeconfig asks for a SOCKS proxy, which is not supported; use an HTTP proxy');
  return {
    origin: server.origin,
    pathPrefix: server.pathname.replace(/\/+$/, ''),
    proxyUrl,
    headers: headersOf(found),
    tls,
    poolKey: fingerprint(server.origin, proxyUrl, tls),
  };
}

function serverUrl(server: string): URL {
  const url = URL.parse(server);
  if (url === null) throw invalid('the kubeconfig has a server that is no URL');
  return url;
}

function headersOf({ headers = {}, auth }: RequestOptions): Record<string, string> {
  const result: Record<string, string> = {};
  // A token file may end in a newline, which no header may hold.
  for (const [name, value] of Object.entries(headers)) result[name.toLowerCase()] = String(value).trim();
  if (auth !== undefined) result['authorization'] = `Basic ${Buffer.from(auth).toString('base64')}`;
  return result;
}

const TLS_MEMBERS = ['ca', 'cert', 'key', 'pfx', 'passphrase', 'rejectUnauthorized', 'servername'] as const;

function tlsOf(found: RequestOptions): TlsOptions {
  return Object.fromEntries(TLS_MEMBERS.filter((member) => found[member] !== undefined).map((member) => [member, found[member]]));
}

function fingerprint(origin: string, proxyUrl: string | undefined, tls: TlsOptions): string {
  const hash = createHash('sha256').update(`${origin} ${proxyUrl ?? ''}`);
  for (const member of TLS_MEMBERS) hash.update(`\n${member}=${String(tls[member])}`);
  return hash.digest('hex');
}

const invalid = (message: string): BifrostError => new BifrostError({ code: 'INVALID_OPTIONS', message });

/** ` (ENOENT)`: the one part of a foreign error that cannot hold a secret. */
function systemCode(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[A-Z_]{3,40}$/.test(code) ? ` (${code})` : '';
}
