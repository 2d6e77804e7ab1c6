import { Secret } from '@bifrost/types/core';
import type { ClientCertificate, ShownCredentials } from '../auth/authenticator.ts';
import { forwardedCertificate } from '../auth/forwarded-certificate.ts';
import type { Caller, Peer } from './caller.ts';

/** Header of an API key. */
const API_KEY = 'x-api-key';
/** Where a proxy says whose certificate it has verified. */
const FORWARDED = 'x-forwarded-client-cert';

const BEARER = /^Bearer ([^\s,]+)$/i;

/** Whether what a peer says of others is believed: a proxy of ours. */
export type TrustsPeer = (peer: Peer) => boolean;

function certificateOf({ header, peer }: Caller, trustsPeer: TrustsPeer): ClientCertificate | undefined {
  if (!trustsPeer(peer)) return peer.certificate; // its own; what it says of others is worth nothing
  const forwarded = header(FORWARDED);
  return forwarded === undefined ? undefined : forwardedCertificate(forwarded);
}

/** What a caller shows, from its headers and its connection. */
export function credentialsOf(caller: Caller, trustsPeer: TrustsPeer): ShownCredentials {
  const [, bearer] = BEARER.exec(caller.header('authorization') ?? '') ?? [];
  const apiKey = caller.header(API_KEY);
  // Whoever shows something in words is judged by it, also when it cannot be read: it must not fall back on the rights of its connection.
  const saysNothing = caller.header('authorization') === undefined && apiKey === undefined;
  const clientCertificate = saysNothing ? certificateOf(caller, trustsPeer) : undefined;
  return {
    ...(bearer === undefined ? {} : { bearer: new Secret(bearer) }),
    ...(apiKey === undefined ? {} : { apiKey: new Secret(apiKey) }),
    ...(clientCertificate === undefined ? {} : { clientCertificate }),
  };
}

/** The client's address as a trusted proxy says it, else the peer's. */
export function addressOf({ header, peer }: Caller, trustsPeer: TrustsPeer): string {
  const forwarded = trustsPeer(peer) ? header('x-forwarded-for')?.split(',').at(-1)?.trim() : undefined;
  return forwarded === undefined || forwarded === '' ? peer.address : forwarded;
}
