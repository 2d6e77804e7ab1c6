import type { Headers, Json, Verdict } from './door.ts';
import type { Service } from './service.ts';
import type { Worlds } from './worlds.ts';

/** One call of the story that every door tells in a world of its own. */
export interface Step {
  readonly says: string;
  readonly method: string;
  /** What came before is there by title. */
  readonly request: Json | ((before: ReadonlyMap<string, Verdict>) => Json);
  readonly headers?: (worlds: Worlds, before: ReadonlyMap<string, Verdict>) => Headers;
  /** Done to each world first. */
  readonly first?: (service: Service) => Promise<unknown>;
  /** Bifrost's code; an answer without. */
  readonly reason?: string;
  readonly http?: number;
  readonly fields?: readonly string[];
  readonly body?: object;
  readonly keys?: readonly string[];
}

export const CONFIG = {
  allowed_networks: ['10.0.0.0/8', '192.168.0.0/16'],
  blocked_networks: ['169.254.0.0/16'],
  access_policy: 'restrictive',
  enable_logging: true,
};
/** The specification's own request. */
export const ACME = { customer_id: 'customer-a', tailnet_name: 'acme-corp-production', config: CONFIG, tags: ['production', 'customer-acme'] };
export const TAILNET = { tailnet_name: 'acme-corp-production' };
export const BOOK = {
  ...TAILNET,
  book_deployment_id: 'customer-support-book',
  config: { hostname: 'book-customer-support', advertise_routes: ['10.1.0.0/24'], accept_routes: true, enable_ssh: false },
};
export const MANIFEST = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'new-book', namespace: 'customer-a' },
  spec: {
    selector: { matchLabels: { app: 'x' } },
    template: { metadata: { labels: { app: 'x' } }, spec: { containers: [{ name: 'book', image: 'book' }] } },
  },
};
export const bodyOf = (before: ReadonlyMap<string, Verdict>, title: string): Readonly<Record<string, unknown>> =>
  (before.get(title)?.body ?? {}) as Readonly<Record<string, unknown>>;
export const sidecar =
  (more: Json = {}) =>
  (before: ReadonlyMap<string, Verdict>): Json => ({ sidecar_id: bodyOf(before, 'a sidecar is attached')['sidecar_id'], ...more });
export const etag = (before: ReadonlyMap<string, Verdict>): string => (bodyOf(before, 'the tailnet is read')['tailnet'] as { etag: string }).etag;
export const as =
  (...roles: readonly string[]) =>
  ({ issuer }: Worlds): Headers =>
    issuer.bearer(roles);
export const stranger = as('admin:customer-b');
export const viewer = as('viewer:customer-a');
export const admin = as('admin:*');
export const absent = { tailnet_name: 'nobodys' };
export const noSidecar = { sidecar_id: 'nobodys' };
export const UNKNOWN = { reason: 'TAILNET_NOT_FOUND' };
export const NO_SIDECAR = { reason: 'SIDECAR_NOT_FOUND' };
export const DENIED = { reason: 'PERMISSION_DENIED' };
