import type { CreateTailnetInput, UpdateTailnetInput, UpgradeSidecarsInput } from '@bifrost/types';
import { type Tailnet, wirePath } from '@bifrost/types/core';
import type { Plain } from './convert.ts';
import type { Handler, HandlerCall, Outcome } from './handlers.ts';
import { pageOf } from './page.ts';
import { isAmong, text, without } from './request.ts';
import { changeOf } from './update-mask.ts';

const CHANGEABLE = {
  config: { allowedNetworks: [], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false },
  top: { tags: [] },
};

/** The reason's path as callers write it. */
const shown = (tailnet: Tailnet): Plain => {
  const path = tailnet.reason?.path;
  return path === undefined ? { ...tailnet } : { ...tailnet, reason: { ...tailnet.reason, path: wirePath(path) } };
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
    const { pageSize, pageToken, ...filter } = request as { readonly pageSize: number; readonly pageToken: string } & Plain;
    const tailnets = (await manager.listTailnets(options)).filter(
      ({ customerId, tags, status }) =>
        isAmong(filter['customerId'], customerId) && (!filter['tag'] || tags.includes(filter['tag'] as string)) && isAmong(filter['status'], status),
    );
    const { items, nextPageToken } = pageOf(tailnets, ({ tailnetName }) => tailnetName, { pageSize, pageToken, filter });
    return { body: { tailnets: items.map(shown), nextPageToken } };
  },
  UpdateTailnet: async (call) => {
    const { manager, request, options } = call;
    return answer(await manager.updateTailnet({ ...changed(call), allowRollout: request['allowRollout'] === true }, options));
  },
  DeleteTailnet: async ({ manager, request, options }) => {
    const { cascade, abandon } = request as { readonly cascade: boolean; readonly abandon: boolean };
    await manager.deleteTailnet(text(request, 'tailnetName'), { cascade, abandon, ...options });
    return { body: {}, httpStatus: 202 };
  },
  PlanUpdateTailnet: async (call) => {
    const plan = await call.manager.planUpdateTailnet(changed(call), call.options);
    return { body: { plan: { ...plan, changes: plan.changes.map(wirePath) } } };
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
} satisfies Readonly<Record<string, Handler>>;
