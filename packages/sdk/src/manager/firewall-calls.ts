import type { FirewallReport } from '@bifrost/types/core';
import type { StoredTailnet } from '../domain/model.ts';
import { type FirewallRouter, firewallCheck, type RouterLink } from '../domain/policy/firewall-check.ts';
import { firewallRequirements as requirementsOf, TAILSCALE_LOGIN_SERVER } from '../domain/policy/firewall-requirements.ts';
import { tailnetRelays } from '../domain/policy/tailnet-relays.ts';
import type { Device } from '../ports/index.ts';
import { type Call, type Context, controlOf } from './context.ts';
import { policyOf } from './explain-calls.ts';
import { customerTags, ownDevices } from './identities.ts';
import { requireTailnet } from './tailnet-calls.ts';

/** The customer's routers: what offers routes, or carries a router's tag, and is no book. Of a tailnet of several customers only what carries the customer's own. */
function routersOf(context: Context, tailnet: StoredTailnet, devices: readonly Device[]): readonly Device[] {
  const { customer, router } = customerTags(tailnet);
  const ofBooks = new Set([customer, ...context.settings.deviceTags]);
  const ofRouters = new Set([router, context.settings.routerTag]);
  return ownDevices(tailnet, devices).filter(
    ({ tags, advertisedRoutes, enabledRoutes }) =>
      !tags.some((tag) => ofBooks.has(tag)) && (tags.some((tag) => ofRouters.has(tag)) || advertisedRoutes.length > 0 || enabledRoutes.length > 0),
  );
}

/** By router: how the books' agents reach it. Who has been silent for too long says nothing of now. */
async function linksOf(context: Context, { key }: StoredTailnet, call: Call): Promise<ReadonlyMap<string, readonly RouterLink[]>> {
  const sidecars = (await context.store.sidecars.list(call)).filter(({ spec }) => spec.tailnetName === key);
  const oldestMs = context.clock.nowMs() - context.settings.silenceMs;
  const links = new Map<string, RouterLink[]>();
  for (const instance of sidecars.flatMap((sidecar) => context.instances.of(sidecar.key))) {
    const { reported, heardAtMs, relayWorks } = instance;
    if (!reported || heardAtMs < oldestMs) continue;
    for (const { deviceId, path, sinceMs } of instance.routers) {
      const known = links.get(deviceId) ?? [];
      known.push({ path, relayWorks, heardAtMs, sinceMs });
      links.set(deviceId, known);
    }
  }
  return links;
}

/** @see NetworkManager.firewallRequirements */
export async function firewallRequirements(context: Context, tailnetName: string, call: Call): Promise<FirewallReport> {
  const tailnet = await requireTailnet(context, tailnetName, call);
  const control = await controlOf(context, tailnet, call);
  const [published, policy, devices, links] = await Promise.all([
    ...([context.controlPlane.relays(call), policyOf(control, call)] as const),
    ...([control.listDevices(call), linksOf(context, tailnet, call)] as const),
  ]);
  const relays = tailnetRelays(published, policy);
  const routers = routersOf(context, tailnet, devices).map(
    ({ deviceId, name, connected, lastSeenAtMs, connectivity }): FirewallRouter => ({
      ...{ name, connected, lastSeenAtMs, connectivity },
      links: links.get(deviceId) ?? [],
    }),
  );
  const { loginServer = TAILSCALE_LOGIN_SERVER } = context.settings;
  return {
    tailnetName: tailnet.key,
    rows: firewallCheck(requirementsOf({ loginServer, relays }), { routers, nowMs: context.clock.nowMs() }),
    routers: routers.length,
    connectedRouters: routers.filter(({ connected }) => connected).length,
  };
}
