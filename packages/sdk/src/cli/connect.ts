import { readFile } from 'node:fs/promises';
import { BifrostError, Secret } from '@bifrost/types/core';
import type { Interceptor, Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import type { Cli } from './cli.ts';

/** Options of every command. */
export interface GlobalOptions {
  readonly server?: string;
  readonly tokenFile?: string;
  readonly apiKeyFile?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly cluster?: boolean;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly manager: string;
  readonly output: 'table' | 'json' | 'yaml';
  readonly requestTimeout: string;
}

/** A way to whoever answers the calls. */
export interface Connection extends AsyncDisposable {
  readonly transport: Transport;
  /** False: no running manager answers, so nobody knows what only a running one does: bytes, latency, events. */
  readonly isLive: boolean;
  /** In words, for people. */
  readonly place: string;
}

/** Opens `--cluster`. */
export type OpenCluster = (options: GlobalOptions, cli: Cli) => Promise<Connection>;

/** @throws {BifrostError} `INVALID_OPTIONS` */
export const usage = (message: string, path = ''): BifrostError =>
  new BifrostError({ code: 'INVALID_OPTIONS', message, issues: path === '' ? [] : [{ path, message: 'is what to correct' }] });

/** @throws {BifrostError} `INVALID_OPTIONS` — neither a service nor a cluster is named, or both, or a file cannot be read */
export async function connect(options: GlobalOptions, cli: Cli): Promise<Connection> {
  if (options.cluster === true) {
    if (options.server !== undefined) throw usage('Say either --server or --cluster.', '--cluster');
    return cli.openCluster(options, cli);
  }
  return connectService(options, cli);
}

/** Where the service is. @throws {BifrostError} `INVALID_OPTIONS` */
export function serverUrl({ server }: GlobalOptions, { env }: Cli): URL {
  const text = server ?? env['BIFROST_SERVER'];
  if (text === undefined || text === '')
    throw usage('Say where: --server URL or BIFROST_SERVER for a service, --cluster for the cluster of your kubeconfig.', '--server');
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw usage('The service is named by a URL that begins with https:// (or http:// on loopback).', '--server');
  if (url.username !== '' || url.password !== '') throw usage('A credential goes into a file or a variable, never into the URL.', '--server');
  return url;
}

export const isLoopback = ({ hostname }: URL): boolean => hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d+){3}$/.test(hostname);

/** A file that an option names. @throws {BifrostError} `INVALID_OPTIONS` with the option's name and the system's word */
export async function fileOf(path: string, option: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw usage(`${option}: the file cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'}).`, option);
  }
}

interface Credential {
  readonly header: 'authorization' | 'x-api-key';
  readonly value: Secret;
}

async function secretOf(
  file: string | undefined,
  { option, variable }: { option: string; variable: string | undefined },
): Promise<Secret | undefined> {
  const text = (file === undefined ? variable : (await fileOf(file, option)).toString('utf8'))?.trim();
  if (text === undefined || text === '') return undefined;
  if (!/^[\x21-\x7e]+$/.test(text)) throw usage(`${option}: what it holds cannot be a credential; it must be one word.`, option);
  return new Secret(text);
}

/** The bearer token or the API key, options before variables. @throws {BifrostError} `INVALID_OPTIONS` */
async function credentialOf({ tokenFile, apiKeyFile }: GlobalOptions, { env }: Cli): Promise<Credential | undefined> {
  if (tokenFile !== undefined && apiKeyFile !== undefined) throw usage('Say either --token-file or --api-key-file.', '--token-file');
  const [byToken, byKey] =
    tokenFile === undefined && apiKeyFile !== undefined ? [undefined, env['BIFROST_API_KEY']] : [env['BIFROST_TOKEN'], env['BIFROST_API_KEY']];
  const token = apiKeyFile === undefined ? await secretOf(tokenFile, { option: '--token-file', variable: byToken }) : undefined;
  if (token !== undefined) return { header: 'authorization', value: new Secret(`Bearer ${token.reveal()}`) };
  const key = await secretOf(apiKeyFile, { option: '--api-key-file', variable: byKey });
  return key && { header: 'x-api-key', value: key };
}

const signing =
  ({ header, value }: Credential): Interceptor =>
  (next) =>
  (request) => {
    request.header.set(header, value.reveal());
    return next(request);
  };

/** Certificate files of the options. @throws {BifrostError} `INVALID_OPTIONS` */
export async function tlsOf({ ca, cert, key }: GlobalOptions): Promise<{ ca?: Buffer; cert?: Buffer; key?: Buffer }> {
  if ((cert === undefined) !== (key === undefined)) throw usage('--cert and --key belong together.', '--cert');
  return {
    ...(ca === undefined ? {} : { ca: await fileOf(ca, '--ca') }),
    ...(cert === undefined ? {} : { cert: await fileOf(cert, '--cert') }),
    ...(key === undefined ? {} : { key: await fileOf(key, '--key') }),
  };
}

async function connectService(options: GlobalOptions, cli: Cli): Promise<Connection> {
  const url = serverUrl(options, cli);
  const [tls, credential] = [await tlsOf(options), await credentialOf(options, cli)];
  if (credential !== undefined && url.protocol === 'http:' && !isLoopback(url))
    throw usage('A credential is sent over https only; http is for loopback.', '--server');
  const sessionManager = new Http2SessionManager(url.origin, {}, tls);
  return {
    transport: createGrpcTransport({
      baseUrl: url.href.replace(/\/$/, ''),
      sessionManager,
      interceptors: credential === undefined ? [] : [signing(credential)],
    }),
    isLive: true,
    place: url.host,
    [Symbol.asyncDispose]: async () => sessionManager.abort(),
  };
}
