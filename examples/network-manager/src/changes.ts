import type { InjectSidecarInput, UpdateSidecarInput, UpdateTailnetInput, UpgradeSidecarsInput, WorkloadManifest } from '@bifrost/sdk';
import { made, ok, type Request, type Route, seen, wrong } from './route.ts';

/** A member of a body that says which object it is about may not contradict the path. */
const named = <Body>({ body }: Request, name: string, value: string): Body => {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw wrong('INVALID_ARGUMENT', '', 'The body is not a JSON object.');
  return { ...body, [name]: value } as Body;
};

/** Kubernetes' own names are not ours to write otherwise: a manifest goes through as text. */
function manifestOf({ body }: Request): WorkloadManifest {
  const text = typeof body === 'object' && body !== null && 'manifest' in body ? body.manifest : undefined;
  if (typeof text !== 'string') throw wrong('INVALID_ARGUMENT', 'manifest', 'The manifest is given as JSON text.');
  try {
    return JSON.parse(text) as WorkloadManifest;
  } catch {
    throw wrong('INVALID_ARGUMENT', 'manifest', 'The manifest is not JSON.');
  }
}

type Allowed<Input> = Input & { readonly allowRollout?: boolean };

/** Calls that change what is there already. */
export const CHANGES: readonly Route[] = [
  {
    method: 'PATCH',
    path: /^\/tailnets\/([^/:]+)$/,
    run: async (request) => {
      const { manager, parameters, actor, signal } = request;
      return ok(
        seen(await manager.updateTailnet(named<Allowed<UpdateTailnetInput>>(request, 'tailnetName', parameters[0] ?? ''), { actor, signal })),
      );
    },
  },
  {
    method: 'POST',
    path: /^\/tailnets\/([^/:]+):planUpdate$/,
    run: async (request) =>
      ok(await request.manager.planUpdateTailnet(named<UpdateTailnetInput>(request, 'tailnetName', request.parameters[0] ?? ''), request)),
  },
  {
    method: 'POST',
    path: /^\/tailnets\/([^/:]+):pause$/,
    run: async ({ manager, parameters: [name = ''], actor, signal }) => ok(seen(await manager.pauseTailnet(name, { actor, signal }))),
  },
  {
    method: 'POST',
    path: /^\/tailnets\/([^/:]+):resume$/,
    run: async ({ manager, parameters: [name = ''], actor, signal }) => ok(seen(await manager.resumeTailnet(name, { actor, signal }))),
  },
  {
    method: 'POST',
    path: /^\/tailnets\/([^/:]+):upgrade$/,
    run: async (request) => {
      const { manager, parameters, actor, signal } = request;
      return ok(await manager.upgradeSidecars(named<UpgradeSidecarsInput>(request, 'tailnetName', parameters[0] ?? ''), { actor, signal }));
    },
  },
  {
    method: 'POST',
    path: /^\/tailnets\/([^/:]+):planUpgrade$/,
    run: async (request) =>
      ok(await request.manager.planUpgrade(named<UpgradeSidecarsInput>(request, 'tailnetName', request.parameters[0] ?? ''), request)),
  },
  {
    method: 'PATCH',
    path: /^\/sidecars\/([^/:]+)$/,
    run: async (request) => {
      const { manager, parameters, actor, signal } = request;
      return ok(seen(await manager.updateSidecar(named<Allowed<UpdateSidecarInput>>(request, 'sidecarId', parameters[0] ?? ''), { actor, signal })));
    },
  },
  {
    method: 'POST',
    path: /^\/sidecars\/([^/:]+):planUpdate$/,
    run: async (request) =>
      ok(await request.manager.planUpdateSidecar(named<UpdateSidecarInput>(request, 'sidecarId', request.parameters[0] ?? ''), request)),
  },
  {
    method: 'POST',
    path: /^\/sidecars\/([^/:]+):repair$/,
    run: async ({ manager, parameters: [sidecarId = ''], actor, signal }) => ok(seen(await manager.repairSidecar(sidecarId, { actor, signal }))),
  },
  {
    method: 'POST',
    path: /^\/sidecars:inject$/,
    run: async (request) => {
      const { manager, body, actor, signal } = request;
      const manifest = manifestOf(request);
      const injected = await manager.injectSidecar({ ...(body as InjectSidecarInput), manifest }, { actor, signal });
      return made({ ...injected, manifest: JSON.stringify(injected.manifest) });
    },
  },
];
