import type { AttachSidecarInput, ExplainInput, InjectSidecarInput, UpdateSidecarInput } from '@bifrost/types';
import type { Sidecar } from '@bifrost/types/core';
import type { WorkloadManifest } from '../../domain/inject-sidecar.ts';
import type { Handler, HandlerCall, Outcome } from './handlers.ts';
import { pageOf, pageRequestOf } from './page.ts';
import { isAmong, text, without } from './request.ts';
import { shown, shownPlan } from './shown.ts';
import { changeOf } from './update-mask.ts';

const CHANGEABLE = { config: { advertiseRoutes: [], acceptRoutes: false, enableSsh: false, networkMode: 'auto' } };

const answer = (sidecar: Sidecar): Outcome => ({ body: { sidecar: shown(sidecar) }, etag: sidecar.etag });

/** `config` is needed by the schema: an empty change is one of nothing. */
const changed = ({ request }: HandlerCall): UpdateSidecarInput => ({
  sidecarId: text(request, 'sidecarId'),
  config: {},
  ...changeOf(request, CHANGEABLE),
});

export const SIDECAR_HANDLERS = {
  AttachSidecar: async ({ manager, request, options }) => {
    const { created, ...body } = await manager.attachSidecar(request as unknown as AttachSidecarInput, options);
    return { body, httpStatus: created ? 201 : 200 };
  },
  PlanAttachSidecar: async ({ manager, request, options }) => ({
    body: { ...(await manager.planAttach(request as unknown as AttachSidecarInput, options)) },
  }),
  InjectSidecar: async ({ manager, request, options }) => {
    const manifest = (request['manifest'] ?? {}) as WorkloadManifest;
    const input = without(request, 'manifest') as unknown as InjectSidecarInput;
    const { created, ...body } = await manager.injectSidecar({ ...input, manifest }, options);
    return { body, httpStatus: created ? 201 : 200 };
  },
  GetSidecar: async ({ manager, request, options }) => answer(await manager.getSidecar(text(request, 'sidecarId'), options)),
  ListSidecars: async ({ manager, request, options }) => {
    const page = pageRequestOf(request);
    const { filter } = page;
    const sidecars = (await manager.listSidecars(options))
      .filter(
        (sidecar) =>
          isAmong(filter['tailnetName'], sidecar.tailnetName) &&
          isAmong(filter['customerId'], sidecar.customerId) &&
          isAmong(filter['bookDeploymentId'], sidecar.bookDeploymentId) &&
          isAmong(filter['status'], sidecar.status),
      )
      .sort((a, b) => (a.sidecarId < b.sidecarId ? -1 : 1));
    const { items, nextPageToken } = pageOf(sidecars, ({ sidecarId }) => sidecarId, page);
    return { body: { sidecars: items.map(shown), nextPageToken } };
  },
  UpdateSidecar: async (call) => {
    const { manager, request, options } = call;
    return answer(await manager.updateSidecar({ ...changed(call), allowRollout: request['allowRollout'] === true }, options));
  },
  PlanUpdateSidecar: async (call) => {
    const plan = await call.manager.planUpdateSidecar(changed(call), call.options);
    return { body: { plan: shownPlan(plan) } };
  },
  ExplainPacket: async ({ manager, request, options }) => ({
    // No port is port 0 in the proto: nobody asks for that one.
    body: { explanation: await manager.explain((request['port'] === 0 ? without(request, 'port') : request) as unknown as ExplainInput, options) },
  }),
  RepairSidecar: async ({ manager, request, options }) => answer(await manager.repairSidecar(text(request, 'sidecarId'), options)),
  QuarantineSidecar: async ({ manager, request, options }) => {
    const reason = text(request, 'reason');
    const input = { sidecarId: text(request, 'sidecarId'), ...(reason === '' ? {} : { reason }) };
    return answer(await manager.quarantineSidecar(input, options));
  },
  ReadmitSidecar: async ({ manager, request, options }) => answer(await manager.readmitSidecar(text(request, 'sidecarId'), options)),
  DetachSidecar: async ({ manager, request, options }) => {
    await manager.detachSidecar(text(request, 'sidecarId'), { abandon: request['abandon'] === true, ...options });
    return { body: {}, httpStatus: 202 };
  },
} satisfies Readonly<Record<string, Handler>>;
