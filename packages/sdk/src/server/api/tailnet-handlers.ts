import type { CreateTailnetInput, UpdateTailnetInput, UpgradeSidecarsInput } from '@bifrost/types';
import type { Tailnet } from '@bifrost/types/core';
import type { Handler, HandlerCall, Outcome } from './handlers.ts';
import { pageOf, pageRequestOf } from './page.ts';
import { isAmong, text, without } from './request.ts';
import { shown, shownPlan } from './shown.ts';
import { changeOf } from './update-mask.ts';

const CHANGEABLE = {
  config: { allowedNetworks: [], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false },
  top: { tags: [], managePolicy: false },
};

const answer = (tailnet: Tailnet): Outcome => ({ body: { tailnet: shown(tailnet) }, etag: tailnet.etag });

const changed = ({ request }: HandlerCall): UpdateTailnetInput => ({ tailnetName: text(request, 'tailnetName'), ...changeOf(request, CHANGEABLE) });

export const TAILNET_HANDLERS = {
  CreateTailnet: async ({ manager, request, options }) => {
    const { created, ...body } = await manager.createTailnet(request as unknown as CreateTailnetInput, options);
    return { body, httpStatus: created ? 201 : 200 };
  },
  GetTailnet: async ({ manager, request, options }) => answer(await manager.getTailnet(text(request, 'tailnetName'), options)),
  ListTailnets: async ({ manager, request, options }) => {
    const page = pageRequestOf(request);
    const { filter } = page;
    const tailnets = (await manager.listTailnets(options)).filter(
      ({ customerId, tags, status }) =>
        isAmong(filter['customerId'], customerId) && (!filter['tag'] || tags.includes(filter['tag'] as string)) && isAmong(filter['status'], status),
    );
    const { items, nextPageToken } = pageOf(tailnets, ({ tailnetName }) => tailnetName, page);
    return { body: { tailnets: items.map(shown), nextPageToken } };
  },
  UpdateTailnet: async (call) => {
    const { manager, request, options } = call;
    const consents = { allowRollout: request['allowRollout'] === true, confirm: request['confirm'] === true };
    return answer(await manager.updateTailnet({ ...changed(call), ...consents }, options));
  },
  DeleteTailnet: async ({ manager, request, options }) => {
    const { cascade, abandon } = request as { readonly cascade: boolean; readonly abandon: boolean };
    await manager.deleteTailnet(text(request, 'tailnetName'), { cascade, abandon, ...options });
    return { body: {}, httpStatus: 202 };
  },
  PlanUpdateTailnet: async (call) => {
    const plan = await call.manager.planUpdateTailnet(changed(call), call.options);
    return { body: { plan: shownPlan(plan) } };
  },
  PauseTailnet: async ({ manager, request, options }) => answer(await manager.pauseTailnet(text(request, 'tailnetName'), options)),
  ResumeTailnet: async ({ manager, request, options }) => answer(await manager.resumeTailnet(text(request, 'tailnetName'), options)),
  UpgradeSidecars: async ({ manager, request, options }) => ({
    body: { upgrade: await manager.upgradeSidecars(without(request, 'etag') as unknown as UpgradeSidecarsInput, options) },
  }),
  PlanUpgradeSidecars: async ({ manager, request, options }) => ({
    body: { plan: await manager.planUpgrade(request as unknown as UpgradeSidecarsInput, options) },
  }),
  GetNetworkStatus: async ({ manager, request, options }) => ({
    body: { ...(await manager.getNetworkStatus(text(request, 'tailnetName'), options)) },
  }),
  GetFirewallRequirements: async ({ manager, request, options }) => ({
    body: { ...(await manager.firewallRequirements(text(request, 'tailnetName'), options)) },
  }),
} satisfies Readonly<Record<string, Handler>>;
