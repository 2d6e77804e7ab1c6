import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import { BifrostError } from '@bifrost/types/core';
import { wrong } from './rest-error.ts';

/** The whole body, at most `maxBytes`. What is left of a larger one is not read. @throws {BifrostError} `BODY_TOO_LARGE` */
export async function readBody(request: IncomingMessage | Http2ServerRequest, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Without destroying what is left: the refusal goes out on the same connection.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes)
      throw new BifrostError({
        code: 'BODY_TOO_LARGE',
        message: `A body has at most ${maxBytes} bytes.`,
        issues: [{ path: '', message: 'is too large' }],
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** @throws {BifrostError} `INVALID_ARGUMENT` — it is not UTF-8 */
export function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw wrong('', 'The body is not UTF-8.');
  }
}
