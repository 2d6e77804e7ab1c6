import type { AttachSidecarInput, InjectSidecarInput, UpdateSidecarInput } from '@bifrost/types';
import { type Sidecar, wirePath } from '@bifrost/types/core';
import type { WorkloadManifest } from '../../domain/inject-sidecar.ts';
import type { Plain } from './convert.ts';
import type { Handler, HandlerCall, Outcome } from './handlers.ts';
import { pageOf } from './page.ts';
import { text, without } from './request.ts';
import { changeOf } from './update-mask.ts';

const CHANGEABLE = { config: { advertiseRoutes: [], acceptRoutes: false, enableSsh: false, networkMode: 'auto' } };

/** The reason's path as callers write it. */
const shown = (sidecar: Sidecar): Plain => {
  const path = sidecar.reason?.path;
  return path === undefined ? { ...sidecar } : { ...sidecar, reason: { ...sidecar.reason, path: wirePath(path) } };
};

const answer = (sidecar: Sidecar): Outcome => ({ body: { sidecar: shown(sidecar) } });

/** `config` is needed by the schema: an empty change is one of nothing. */
const changed = ({ request }: HandlerCall): UpdateSidecarInput => ({
  sidecarId: text(request, 'sidecarId'),
  config: {},
  ...changeOf(request, CHANGEABLE),
});

export const SIDECAR_HANDLERS = {
  AttachSidecar: async ({ manager, request, actor, signal }) => {
    const attached = await manager.attachSidecar(request as unknown as AttachSidecarInput, { actor, signal });
    return { body: { ...attached }, httpStatus: 201 };
  },
  PlanAttachSidecar: async ({ manager, request, signal }) => ({
    body: { ...(await manager.planAttach(request as unknown as AttachSidecarInput, { signal })) },
  }),
  InjectSidecar: async ({ manager, request, actor, signal }) => {
    const manifest = (request['manifest'] ?? {}) as WorkloadManifest;
    const input = without(request, 'manifest') as unknown as InjectSidecarInput;
    return { body: { ...(await manager.injectSidecar({ ...input, manifest }, { actor, signal })) }, httpStatus: 201 };
  },
  GetSidecar: async ({ manager, request, signal }) => answer(await manager.getSidecar(text(request, 'sidecarId'), { signal })),
  ListSidecars: async ({ manager, request, signal }) => {
    const { pageSize, pageToken, ...filter } = request as { readonly pageSize: number; readonly pageToken: string } & Plain;
    const among = (name: string, value: string): boolean => [undefined, '', value].includes(filter[name] as string);
    const sidecars = (await manager.listSidecars({ signal }))
      .filter(
        (sidecar) =>
          among('tailnetName', sidecar.tailnetName) &&
          among('customerId', sidecar.customerId) &&
          among('bookDeploymentId', sidecar.bookDeploymentId) &&
          among('status', sidecar.status),
      )
      .sort((a, b) => (a.sidecarId < b.sidecarId ? -1 : 1));
    const { items, nextPageToken } = pageOf(sidecars, ({ sidecarId }) => sidecarId, { pageSize, pageToken, filter });
    return { body: { sidecars: items.map(shown), nextPageToken } };
  },
  UpdateSidecar: async (call) => {
    const { manager, request, actor, signal } = call;
    return answer(await manager.updateSidecar({ ...changed(call), allowRollout: request['allowRollout'] === true }, { actor, signal }));
  },
  PlanUpdateSidecar: async (call) => {
    const plan = await call.manager.planUpdateSidecar(changed(call), { signal: call.signal });
    return { body: { plan: { ...plan, changes: plan.changes.map(wirePath) } } };
  },
  RepairSidecar: async ({ manager, request, actor, signal }) => answer(await manager.repairSidecar(text(request, 'sidecarId'), { actor, signal })),
  DetachSidecar: async ({ manager, request, actor, signal }) => {
    await manager.detachSidecar(text(request, 'sidecarId'), { abandon: request['abandon'] === true, actor, signal });
    return { body: {}, httpStatus: 202 };
  },
} satisfies Readonly<Record<string, Handler>>;
