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

interface Named {
  readonly deviceId: string;
  readonly name: string;
}

/** The last word of a sidecar's agents on the device that packets go by: of several that may be it, the one that was used last. Undefined: none has told. */
export function carrierEvidence(instances: readonly Instance[], devices: readonly Named[]): CarrierEvidence | undefined {
  const words = devices.flatMap(({ deviceId, name }) =>
    instances.flatMap((instance) => {
      const word = wordOf(instance, deviceId);
      return word === undefined ? [] : [{ word, deviceId, name, podName: instance.podName }];
    }),
  );
  const [last] = words.sort(({ word: a }, { word: b }) => (b.usedAtMs ?? 0) - (a.usedAtMs ?? 0) || b.toldAtMs - a.toldAtMs);
  if (last === undefined) return undefined;
  const { word, ...named } = last;
  const { path, online, toldAtMs, usedAtMs, handshakeAtMs } = word;
  return {
    ...{ ...named, path, online, toldAt: new Date(toldAtMs) },
    ...(usedAtMs === undefined ? {} : { lastUsedAt: new Date(usedAtMs) }),
    ...(handshakeAtMs === undefined ? {} : { lastHandshakeAt: new Date(handshakeAtMs) }),
  };
}
