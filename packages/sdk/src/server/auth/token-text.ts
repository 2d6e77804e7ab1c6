/** A token is about 1 KB; the rest of the room is for what issuers may add. */
export const MAX_TOKEN_LENGTH = 16_384;

const TOKEN = /^[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*$/;

/** What a token says of itself, before anybody has verified it. */
export interface UnverifiedToken {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Readonly<Record<string, unknown>>;
}

function objectIn(part: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Reads a token without verifying it, to see whose business it is; undefined when it is no JWT. Use it only to refuse: whatever it says may be a lie.
 */
export function peekAtToken(text: string): UnverifiedToken | undefined {
  if (text.length > MAX_TOKEN_LENGTH) return undefined;
  const [, payloadPart] = TOKEN.exec(text) ?? [];
  if (payloadPart === undefined) return undefined;
  const header = objectIn(text.slice(0, text.indexOf('.')));
  const payload = objectIn(payloadPart);
  return header === undefined || payload === undefined ? undefined : { header, payload };
}
