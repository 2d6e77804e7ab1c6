import type { CreateTailnetInput, UpdateTailnetInput, UpgradeSidecarsInput } from '@bifrost/types';
import { type Tailnet, wirePath } from '@bifrost/types/core';
import type { Plain } from './convert.ts';
import type { Handler, HandlerCall, Outcome } from './handlers.ts';
import { pageOf } from './page.ts';
import { text, without } from './request.ts';
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

const answer = (tailnet: Tailnet): Outcome => ({ body: { tailnet: shown(tailnet) } });

const changed = ({ request }: HandlerCall): UpdateTailnetInput => ({ tailnetName: text(request, 'tailnetName'), ...changeOf(request, CHANGEABLE) });

export const TAILNET_HANDLERS = {
  CreateTailnet: async ({ manager, request, actor, signal }) => {
    const created = await manager.createTailnet(request as unknown as CreateTailnetInput, { actor, signal });
    return { body: { ...created }, httpStatus: 201 };
  },
  GetTailnet: async ({ manager, request, signal }) => answer(await manager.getTailnet(text(request, 'tailnetName'), { signal })),
  ListTailnets: async ({ manager, request, signal }) => {
    const { pageSize, pageToken, ...filter } = request as { readonly pageSize: number; readonly pageToken: string } & Plain;
    const tailnets = (await manager.listTailnets({ signal })).filter(
      ({ customerId, tags, status }) =>
        [undefined, '', customerId].includes(filter['customerId'] as string) &&
        (!filter['tag'] || tags.includes(filter['tag'] as string)) &&
        [undefined, status].includes(filter['status'] as Tailnet['status']),
    );
    const { items, nextPageToken } = pageOf(tailnets, ({ tailnetName }) => tailnetName, { pageSize, pageToken, filter });
    return { body: { tailnets: items.map(shown), nextPageToken } };
  },
  UpdateTailnet: async (call) => {
    const { manager, request, actor, signal } = call;
    return answer(await manager.updateTailnet({ ...changed(call), allowRollout: request['allowRollout'] === true }, { actor, signal }));
  },
  DeleteTailnet: async ({ manager, request, actor, signal }) => {
    const { cascade, abandon } = request as { readonly cascade: boolean; readonly abandon: boolean };
    await manager.deleteTailnet(text(request, 'tailnetName'), { cascade, abandon, actor, signal });
    return { body: {}, httpStatus: 202 };
  },
  PlanUpdateTailnet: async (call) => {
    const plan = await call.manager.planUpdateTailnet(changed(call), { signal: call.signal });
    return { body: { plan: { ...plan, changes: plan.changes.map(wirePath) } } };
  },
  PauseTailnet: async ({ manager, request, actor, signal }) => answer(await manager.pauseTailnet(text(request, 'tailnetName'), { actor, signal })),
  ResumeTailnet: async ({ manager, request, actor, signal }) => answer(await manager.resumeTailnet(text(request, 'tailnetName'), { actor, signal })),
  UpgradeSidecars: async ({ manager, request, actor, signal }) => ({
    body: { upgrade: await manager.upgradeSidecars(without(request, 'etag') as unknown as UpgradeSidecarsInput, { actor, signal }) },
  }),
  PlanUpgradeSidecars: async ({ manager, request, signal }) => ({
    body: { plan: await manager.planUpgrade(request as unknown as UpgradeSidecarsInput, { signal }) },
  }),
  GetNetworkStatus: async ({ manager, request, signal }) => ({
    body: { ...(await manager.getNetworkStatus(text(request, 'tailnetName'), { signal })) },
  }),
} satisfies Readonly<Record<string, Handler>>;
