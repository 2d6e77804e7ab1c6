import { BifrostError } from '@bifrost/types/core';
import { NetworkManager, type Sidecar } from '@bifrost/types/proto';
import { isNotFound } from '../failure.ts';
import { allSidecars } from '../lists.ts';
import type { Session } from '../session.ts';

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** The sidecar of that id; undefined when it is gone. */
export async function sidecarOf(session: Session, sidecarId: string): Promise<Sidecar | undefined> {
  try {
    return (await session.call(NetworkManager.method.getSidecar, { sidecarId })).sidecar;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

const notFound = (): BifrostError =>
  new BifrostError({
    code: 'SIDECAR_NOT_FOUND',
    message: 'No such sidecar: look at `bifrost sidecar list`.',
    issues: [{ path: 'sidecarId', message: 'is not known' }],
  });

/**
 * The sidecar that a person names: by its id, its book-deployment id, or `namespace/name` of its workload.
 *
 * @throws {BifrostError} `SIDECAR_NOT_FOUND`, `WORKLOAD_AMBIGUOUS`
 */
export async function requireSidecar(session: Session, named: string): Promise<Sidecar> {
  if (UUID.test(named)) {
    const found = await sidecarOf(session, named);
    if (found !== undefined) return found;
  }
  const all = await allSidecars(session);
  const found = all.filter(
    ({ bookDeploymentId, workload }) => bookDeploymentId === named || (workload !== undefined && `${workload.namespace}/${workload.name}` === named),
  );
  const [first, second] = found;
  if (first === undefined) throw notFound();
  if (second !== undefined)
    throw new BifrostError({
      code: 'WORKLOAD_AMBIGUOUS',
      message: `Several sidecars are called so: ${found.map(({ sidecarId }) => sidecarId).join(', ')}.`,
      issues: [{ path: 'sidecarId', message: 'is not one' }],
    });
  return first;
}
