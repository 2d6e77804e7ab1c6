import { wrong } from './rest-request.ts';

/** JSON as RFC 8259 has it. @throws {BifrostError} `INVALID_ARGUMENT` */
export function parseStrict(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw wrong('', 'The body is not JSON.');
  }
}
