import type { CarrierEvidence, PathClass } from '@bifrost/types/core';
import type { Instance } from './instances.ts';

interface Word {
  readonly path: PathClass;
  readonly online: boolean;
  readonly toldAtMs: number;
  readonly usedAtMs?: number | undefined;
  readonly handshakeAtMs?: number | undefined;
}

/** Of the busiest more is kept; of a router beside them, how it is reached. */
function wordOf({ peers, routers, heardAtMs }: Instance, deviceId: string): Word | undefined {
  const peer = peers.find(({ id }) => id === deviceId);
  if (peer !== undefined) return peer;
  const router = routers.find((known) => known.deviceId === deviceId);
  return router === undefined ? undefined : { path: router.path, online: router.online, toldAtMs: heardAtMs };
}

const rank = ({ usedAtMs = 0, toldAtMs }: Word): readonly [number, number] => [usedAtMs, toldAtMs];

/** The last word of a sidecar's agents on a device. Undefined: none has told of it. */
export function carrierEvidence(
  instances: readonly Instance[],
  { deviceId, name }: { readonly deviceId: string; readonly name: string },
): CarrierEvidence | undefined {
  const words = instances.flatMap((instance) => {
    const word = wordOf(instance, deviceId);
    return word === undefined ? [] : [{ word, podName: instance.podName }];
  });
  const [last] = words.sort((a, b) => {
    const [[usedA, toldA], [usedB, toldB]] = [rank(a.word), rank(b.word)];
    return usedB - usedA || toldB - toldA;
  });
  if (last === undefined) return undefined;
  const { path, online, toldAtMs, usedAtMs, handshakeAtMs } = last.word;
  return {
    ...{ deviceId, name, path, online, toldAt: new Date(toldAtMs), podName: last.podName },
    ...(usedAtMs === undefined ? {} : { lastUsedAt: new Date(usedAtMs) }),
    ...(handshakeAtMs === undefined ? {} : { lastHandshakeAt: new Date(handshakeAtMs) }),
  };
}
