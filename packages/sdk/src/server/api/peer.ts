import type { TLSSocket } from 'node:tls';
import { peerCertificate } from '../auth/peer-certificate.ts';
import type { Peer } from './caller.ts';
import type { HttpRequest } from './rest-door.ts';

/** Who is at the other end; its certificate only when an authority of ours has signed it. */
export function peerOf(request: HttpRequest): Peer {
  const socket = ('stream' in request ? request.stream?.session?.socket : request.socket) as Partial<TLSSocket> | undefined;
  const address = socket?.remoteAddress ?? '';
  const encrypted = socket?.encrypted === true;
  const certificate = socket?.authorized === true ? socket.getPeerX509Certificate?.() : undefined;
  return certificate === undefined ? { address, encrypted } : { address, encrypted, certificate: peerCertificate(certificate) };
}
