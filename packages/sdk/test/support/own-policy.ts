import { BifrostError } from '@bifrost/types/core';
import type { World } from './world.ts';

/** A customer's policy that has rules of its own, and none for books. */
export const OWN_POLICY = `// the customer's own
{
  "tagOwners": { "tag:bifrost-book": ["autogroup:admin"], "tag:office": [] },
  "grants": [{ "src": ["tag:office"], "dst": ["tag:office"], "ip": ["*"] }],
}
`;

/** The customer as its administrator: with a client of its own that may do all. */
export function policyOf(world: World) {
  const [credential] = world.credentials;
  if (credential === undefined) throw new BifrostError({ code: 'INTERNAL', message: 'no customer' });
  const control = world.controlPlane.tailnet({ credential });
  return {
    text: async () => (await control.readPolicy({ signal: AbortSignal.timeout(5_000) })).text,
    edit: async (change: (text: string) => string) => {
      const { text, etag } = await control.readPolicy({ signal: AbortSignal.timeout(5_000) });
      await control.writePolicy(change(text), etag, { signal: AbortSignal.timeout(5_000) });
    },
  };
}
