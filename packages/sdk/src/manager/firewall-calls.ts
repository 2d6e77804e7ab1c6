import type { FirewallReport } from '@bifrost/types/core';
import type { StoredTailnet } from '../domain/model.ts';
import { type FirewallRouter, firewallCheck, type RouterLink } from '../domain/policy/firewall-check.ts';
import { firewallRequirements as requirementsOf, TAILSCALE_LOGIN_SERVER } from '../domain/policy/firewall-requirements.ts';
import type { Device } from '../ports/index.ts';
import { type Call, type Context, controlOf } from './context.ts';
import { customerTags } from './identities.ts';
import { requireTailnet } from './tailnet-calls.ts';

/** Of several customers there is one tailnet: then only what carries the customer's own tag is theirs, and nobody is told of others'. */
const isOfSeveral = (tenancy: string): boolean => tenancy === 'shared';

/** Whether a device is a router of the customer's: it offers routes, or carries a router's tag, and is none of the books'. */
function isRouter(
  { settings: { routerTag, deviceTags } }: Context,
  tailnet: StoredTailnet,
  { tags, advertisedRoutes, enabledRoutes }: Device,
): boolean {
  const own = customerTags(tailnet).router;
  if (isOfSeveral(tailnet.spec.tenancy)) return tags.includes(own);
  if (tags.some((tag) => deviceTags.includes(tag))) return false;
  return tags.includes(routerTag) || tags.includes(own) || advertisedRoutes.length > 0 || enabledRoutes.length > 0;
}

/** By router: how the books' agents reach it. Who has been silent for too long says nothing of now. */
async function linksOf(context: Context, { key }: StoredTailnet, call: Call): Promise<ReadonlyMap<string, readonly RouterLink[]>> {
  const sidecars = (await context.store.sidecars.list(call)).filter(({ spec }) => spec.tailnetName === key);
  const oldestMs = context.clock.nowMs() - context.settings.silenceMs;
  const links = new Map<string, RouterLink[]>();
  for (const instance of sidecars.flatMap((sidecar) => context.instances.of(sidecar.key))) {
    const { reported, heardAtMs, relayWorks } = instance;
    if (!reported || heardAtMs < oldestMs) continue;
    for (const { deviceId, path } of instance.routers) {
      const known = links.get(deviceId) ?? [];
      known.push({ path, relayWorks, heardAtMs });
      links.set(deviceId, known);
    }
  }
  return links;
}

/** @see NetworkManager.firewallRequirements */
export async function firewallRequirements(context: Context, tailnetName: string, call: Call): Promise<FirewallReport> {
  const tailnet = await requireTailnet(context, tailnetName, call);
  const control = await controlOf(context, tailnet, call);
  const [relays, devices, links] = await Promise.all([context.controlPlane.relays(call), control.listDevices(call), linksOf(context, tailnet, call)]);
  const routers = devices
    .filter((device) => isRouter(context, tailnet, device))
    .map(
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
