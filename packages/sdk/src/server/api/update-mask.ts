import { BifrostError, wirePath } from '@bifrost/types/core';
import type { Plain } from './convert.ts';

/** What a change may name, and the value that an unset member then takes. */
export type Changeable = Readonly<Record<string, unknown>>;

function wrongPath(indexes: readonly number[]): BifrostError {
  return new BifrostError({
    code: 'INVALID_ARGUMENT',
    message: 'The mask names what cannot be changed.',
    issues: indexes.map((index) => ({ path: `updateMask.${index}`, message: 'is nothing that this call can change' })),
  });
}

/** Without a mask: what was set. An empty list does not count, since nobody can tell it from none. */
const isSet = (value: unknown): boolean => value !== undefined && !(Array.isArray(value) && value.length === 0);

function pick(source: Plain, members: Changeable, isMeant: (name: string) => boolean): Plain {
  const names = Object.keys(members).filter((name) => isMeant(name));
  return Object.fromEntries(names.map((name) => [name, source[name] ?? members[name]]));
}

/**
 * The members of a change that the request means: those in its `update_mask`, else those that are set.
 *
 * @throws {BifrostError} `INVALID_ARGUMENT` — the mask names what is not in `config` or `top`
 */
export function changeOf(request: Plain, { config, top = {} }: { readonly config: Changeable; readonly top?: Changeable }): Plain {
  const mask = request['updateMask'] as readonly string[] | undefined;
  const given = (request['config'] ?? {}) as Plain;
  if (mask === undefined || mask.length === 0) {
    const changed = pick(given, config, (name) => isSet(given[name]));
    return { ...(Object.keys(changed).length === 0 ? {} : { config: changed }), ...pick(request, top, (name) => isSet(request[name])) };
  }
  const whole = mask.includes('config');
  const inConfig = new Set(Object.keys(config).filter((name) => whole || mask.includes(`config.${wirePath(name)}`)));
  const atTop = new Set(Object.keys(top).filter((name) => mask.includes(wirePath(name))));
  const known = new Set(['config', ...Object.keys(config).map((name) => `config.${wirePath(name)}`), ...Object.keys(top).map(wirePath)]);
  const unknown = mask.flatMap((path, index) => (known.has(path) ? [] : [index]));
  if (unknown.length > 0) throw wrongPath(unknown);
  return {
    ...(inConfig.size === 0 ? {} : { config: pick(given, config, (name) => inConfig.has(name)) }),
    ...pick(request, top, (name) => atTop.has(name)),
  };
}
