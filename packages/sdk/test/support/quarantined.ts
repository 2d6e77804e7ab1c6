import { BOOK, type Opened, openWorld, type World } from './world.ts';

interface Attached {
  readonly sidecarId: string;
}

export async function connected(replicas = 1, settings = {}): Promise<Opened & Attached> {
  const world = await openWorld({ book: { replicas }, settings });
  const { sidecarId } = await world.manager.attachSidecar(BOOK);
  await world.until(async () => world.agents.all.length === replicas && (await world.sidecars())[0]?.state.phase === 'connected');
  await world.quiet();
  return Object.assign(world, { sidecarId });
}
export const stored = async (world: World, sidecarId: string) => (await world.sidecars()).find(({ spec }) => spec.sidecarId === sidecarId);
export const condition = async (world: World, sidecarId: string) =>
  (await world.manager.getSidecar(sidecarId)).conditions.find(({ type }) => type === 'Quarantined');
export const secretOf = async ({ cluster }: World) => {
  const call = { signal: AbortSignal.timeout(5_000) };
  const secret = (await cluster.secrets.list(call)).find(({ namespace }) => namespace === 'acme-corp');
  return secret && [...((await cluster.secrets.get(secret, call)) ?? [])].map(([key]) => key).sort();
};
