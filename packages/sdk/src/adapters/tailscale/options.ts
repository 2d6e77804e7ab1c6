import { issueWords } from '@bifrost/types';
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
  /** Control server of the Tailscale clients, which publishes its relays. Default: Tailscale's own, or `baseUrl` where that is given. */
  readonly loginServer?: string;
  /** The organization's OAuth client. Without it no tailnet can be created or listed, and each tailnet needs its own client. */
  readonly organization?: ControlCredential;
  /** Milliseconds that one HTTP exchange may take, from connecting to the last byte. @default 10000 */
  readonly timeoutMs?: number;
  /** HTTP exchanges under way at once with one credential; further calls wait for their turn. @default 4 */
  readonly maxConcurrent?: number;
  /** Tailnets that the organization may hold, the original one included; tells a full organization from a missing permission. @default 10 */
  readonly tailnetLimit?: number;
  /** Milliseconds for which the relays' map is kept: they come and go by the month. @default 600000 */
  readonly relaysKeptMs?: number;
  /** @default 'bifrost' */
  readonly userAgent?: string;
}

const TAILSCALE_LOGIN = 'https://controlplane.tailscale.com';
const url = z.url({ protocol: /^https?$/ });
const Values = z.object({
  baseUrl: url.default('https://api.tailscale.com'),
  loginServer: url.optional(),
  timeoutMs: z.int().min(1).max(600_000).default(10_000),
  maxConcurrent: z.int().min(1).max(64).default(4),
  tailnetLimit: z.int().min(1).default(10),
  relaysKeptMs: z.int().min(0).max(86_400_000).default(600_000),
  userAgent: z
    .string()
    .regex(/^[\x20-\x7e]{1,200}$/)
    .default('bifrost'),
});

/** All settings, complete. */
export interface ResolvedTailscaleOptions extends z.infer<typeof Values> {
  readonly clock: Clock;
  readonly organization: ControlCredential | undefined;
  readonly loginServer: string;
}

function isPlain(text: string): boolean {
  const { username, password, search, hash } = new URL(text);
  return username === '' && password === '' && search === '' && hash === '';
}

/** @throws {BifrostError} `INVALID_OPTIONS` with a path for each wrong field */
export function resolveOptions(options: TailscaleOptions): ResolvedTailscaleOptions {
  const parsed = Values.safeParse(options, { error: issueWords });
  const issues: Issue[] = (parsed.error?.issues ?? []).map(({ path, message }) => ({ path: path.join('.'), message }));
  if (parsed.success) {
    const { baseUrl, loginServer = options.baseUrl === undefined ? TAILSCALE_LOGIN : baseUrl } = parsed.data;
    if (!isPlain(baseUrl)) issues.push({ path: 'baseUrl', message: 'must be scheme, host and path only' });
    else if (!isPlain(loginServer)) issues.push({ path: 'loginServer', message: 'must be scheme, host and path only' });
    else return Object.freeze({ ...parsed.data, loginServer, clock: options.clock, organization: options.organization });
  }
  throw new BifrostError({ code: 'INVALID_OPTIONS', message: 'correct the options of the tailscale control plane', issues });
}
