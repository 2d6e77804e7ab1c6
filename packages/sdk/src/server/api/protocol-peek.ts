import type { Socket } from 'node:net';

/** What an HTTP/2 connection in clear begins with; no method of HTTP/1.1 that is served begins so. */
const PREFACE = Buffer.from('PRI');

/** Which of the two a connection in clear speaks, as soon as its first bytes say so; they are put back. One that says nothing for `limitMs` is ended. */
export function peekProtocol(socket: Socket, { limitMs }: { readonly limitMs: number }, tell: (protocol: 'http1' | 'http2') => void): void {
  let seen = Buffer.alloc(0);
  const giveUp = (): void => void socket.destroy();
  const late = setTimeout(giveUp, limitMs).unref(); // in all, and not since the last byte
  socket.once('close', () => clearTimeout(late));
  const onData = (chunk: Buffer): void => {
    seen = Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, PREFACE.length);
    const isPreface = seen.subarray(0, length).equals(PREFACE.subarray(0, length));
    if (isPreface && length < PREFACE.length) return; // "P" may be a POST as well
    socket.off('data', onData);
    clearTimeout(late);
    socket.pause();
    socket.unshift(seen);
    tell(isPreface ? 'http2' : 'http1');
    if (!isPreface) socket.resume(); // HTTP/2 takes what is there by itself
  };
  socket.on('data', onData);
}
