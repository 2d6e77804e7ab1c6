import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type PeerCertificate } from 'node:tls';
import { BifrostError } from '@bifrost/types/core';
import { type GetServiceInfoResponse, NetworkManager } from '@bifrost/types/proto';
import { VERSION } from '../../server/api/version.ts';
import { isLoopback, serverUrl, tlsOf } from '../connect.ts';
import { durationText } from '../quantities.ts';
import type { Session } from '../session.ts';
import { type Check, fail, ok, type Seen, skipped, warn } from './check.ts';
import { objectChecks } from './object-checks.ts';

const CONNECT_MS = 5_000;
const EXPIRY_MS = 14 * 86_400_000;
/** JWTs and certificates allow for some of it; half a minute is the usual leeway. */
const SKEW_MS = 30_000;

interface Info {
  readonly info: GetServiceInfoResponse;
  readonly dateMs: number | undefined;
}

/** Checks of a service: all that it answers to this caller. */
export function serviceChecks(session: Session): readonly Check[] {
  // Asked once; every check that needs the answer waits for it.
  let asked: Promise<Info> | undefined;
  const info = (): Promise<Info> => {
    asked ??= ask(session);
    return asked;
  };
  const whenAnswered = (judge: (known: Info) => Seen) => async (): Promise<Seen> => {
    const known = await info().catch(() => undefined);
    return known === undefined ? skipped('the service did not answer this caller') : judge(known);
  };
  const after = (check: Check): Check => ({
    name: check.name,
    look: async () => ((await info().catch(() => undefined)) === undefined ? skipped('the service did not answer this caller') : check.look()),
  });
  return [
    { name: 'reachable', look: () => reachable(session) },
    { name: 'signed in', look: async () => signedIn(await info()) },
    { name: 'clock', look: whenAnswered((known) => clock(session, known)) },
    { name: 'version', look: whenAnswered(version) },
    { name: 'adapters', look: whenAnswered(adapters) },
    { name: 'read-only', look: whenAnswered(readOnly) },
    ...objectChecks(session, { isLive: true }).map(after),
  ];
}

async function ask(session: Session): Promise<Info> {
  let date: string | null = null;
  const info = await session.call(NetworkManager.method.getServiceInfo, {}, (header) => {
    date = header.get('date');
  });
  const dateMs = date === null ? Number.NaN : Date.parse(date);
  return { info, dateMs: Number.isNaN(dateMs) ? undefined : dateMs };
}

async function reachable(session: Session): Promise<Seen> {
  const url = serverUrl(session.options, session.cli);
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const startedMs = performance.now();
  const certificate = await shakeHands({ host, port, isTls: url.protocol === 'https:' }, session);
  const took = `${Math.round(performance.now() - startedMs)} ms`;
  if (certificate === undefined && isLoopback(url)) return ok(`${url.host} answers in ${took}, in clear on loopback`);
  if (certificate === undefined) return warn(`${url.host} answers in clear, in ${took}`, 'in clear is for loopback alone: use https elsewhere');
  const leftMs = Date.parse(certificate.valid_to) - session.cli.clock.nowMs();
  const seen = `${url.host} answers with TLS in ${took}; its certificate is good for ${durationText(leftMs)}`;
  return leftMs < EXPIRY_MS ? warn(seen, 'renew the certificate (Secret bifrost-tls)') : ok(seen);
}

interface Place {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

/** Connects and says goodbye. @throws what the network or TLS says, as a failure that has a code */
async function shakeHands({ host, port, isTls }: Place, session: Session): Promise<PeerCertificate | undefined> {
  const { ca, cert, key } = await tlsOf(session.options);
  const { promise, resolve, reject } = Promise.withResolvers<PeerCertificate | undefined>();
  const tls = { host, port, servername: /^[\d.:a-f]+$/i.test(host) ? '' : host, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  const socket = isTls ? connectTls(tls, () => resolve(socketCertificate())) : connectTcp({ host, port }, () => resolve(undefined));
  const socketCertificate = (): PeerCertificate => (socket as ReturnType<typeof connectTls>).getPeerCertificate();
  const onAbort = (): void => reject(session.signal.reason);
  session.signal.addEventListener('abort', onAbort, { once: true });
  socket.setTimeout(CONNECT_MS, () => reject(unreachable('ETIMEDOUT')));
  socket.on('error', (error: NodeJS.ErrnoException) => reject(unreachable(error.code ?? 'unknown')));
  try {
    return await promise;
  } finally {
    session.signal.removeEventListener('abort', onAbort);
    socket.destroy();
  }
}

const unreachable = (code: string): BifrostError =>
  new BifrostError({ code: 'INVALID_OPTIONS', message: `no connection (${code}): check --server, --ca, DNS and the way there` });

function signedIn({ info: { caller } }: Info): Seen {
  if (caller === undefined || caller.subject === '')
    return warn('the service does not say whom it takes you for', 'check BIFROST_TOKEN or BIFROST_API_KEY');
  const via = caller.via === '' ? '' : ` by ${caller.via}`;
  return ok(`as ${caller.subject}${via}${caller.roles.length === 0 ? '' : `, with ${caller.roles.join(', ')}`}`);
}

function clock(session: Session, { dateMs }: Info): Seen {
  if (dateMs === undefined) return skipped('the answer has no date');
  const skewMs = session.cli.clock.nowMs() - dateMs;
  const seen =
    Math.abs(skewMs) < 2_000
      ? 'this machine and the service agree'
      : `this machine is ${durationText(Math.abs(skewMs))} ${skewMs > 0 ? 'ahead' : 'behind'}`;
  return Math.abs(skewMs) > SKEW_MS ? fail(seen, 'set the clock: tokens and certificates are judged by it') : ok(seen);
}

const minorOf = (text: string): string => text.split('.').slice(0, 2).join('.');

function version({ info }: Info): Seen {
  const seen = `the service is ${info.version}, this command ${VERSION}`;
  return minorOf(info.version) === minorOf(VERSION)
    ? ok(seen)
    : warn(seen, 'use the command of the service’s version: calls that one of them lacks are refused');
}

function adapters({ info: { adapters: used } }: Info): Seen {
  if (used === undefined) return skipped('the service does not say');
  const seen = `cluster ${used.cluster}, store ${used.store}, control plane ${used.controlPlane}`;
  return used.store === 'memory' ? warn(seen, 'what is kept in memory is gone with the process: right for simulations only') : ok(seen);
}

const readOnly = ({ info }: Info): Seen =>
  info.readOnly
    ? warn('the manager is in read-only mode: nothing is changed', 'docs/runbooks/MANAGER_READ_ONLY.md')
    : ok('no: the manager does what it is asked for');
