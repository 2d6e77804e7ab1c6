import { BifrostError, type Issue } from '@bifrost/types/core';
import { z } from 'zod';
import type { Clock } from '../../ports/clock.ts';
import type { ControlCredential } from '../../ports/control-plane.ts';

/** Settings of {@link tailscaleControlPlane}. */
export interface TailscaleOptions {
  /** Time and timers: all deadlines and token lifetimes go by it. */
  readonly clock: Clock;
  /** Where API v2 is, without `/api/v2`. @default 'https://api.tailscale.com' */
  readonly baseUrl?: string;
  /** The organization's OAuth client. Without it no tailnet can be created or listed, and each tailnet needs its own client. */
  readonly organization?: ControlCredential;
  /** Milliseconds that one HTTP exchange may take, from connecting to the last byte. @default 10000 */
  readonly timeoutMs?: number;
  /** HTTP exchanges under way at once with one credential; further calls wait for their turn. @default 4 */
  readonly maxConcurrent?: number;
  /** Tailnets that the organization may hold, the original one included; tells a full organization from a missing permission. @default 10 */
  readonly tailnetLimit?: number;
  /** @default 'bifrost' */
  readonly userAgent?: string;
}

const Values = z.object({
  baseUrl: z.url({ protocol: /^https?$/ }).default('https://api.tailscale.com'),
  timeoutMs: z.int().min(1).max(600_000).default(10_000),
  maxConcurrent: z.int().min(1).max(64).default(4),
  tailnetLimit: z.int().min(1).default(10),
  userAgent: z
    .string()
    .regex(/^[\x20-\x7e]{1,200}$/)
    .default('bifrost'),
});

/** All settings, complete. */
export interface ResolvedTailscaleOptions extends z.infer<typeof Values> {
  readonly clock: Clock;
  readonly organization: ControlCredential | undefined;
}

/** @throws {BifrostError} `INVALID_OPTIONS` with a path for each wrong field */
export function resolveOptions(options: TailscaleOptions): ResolvedTailscaleOptions {
  const parsed = Values.safeParse(options);
  const issues: Issue[] = (parsed.error?.issues ?? []).map(({ path, code }) => ({ path: path.join('.'), message: code }));
  if (parsed.success) {
    const { username, password, search, hash } = new URL(parsed.data.baseUrl);
    if (username === '' && password === '' && search === '' && hash === '') {
      return Object.freeze({ ...parsed.data, clock: options.clock, organization: options.organization });
    }
    issues.push({ path: 'baseUrl', message: 'must be scheme, host and path only' });
  }
  throw new BifrostError({ code: 'INVALID_OPTIONS', message: 'correct the options of the tailscale control plane', issues });
}
