/** Keys whose value is a map of free names: those names are left as they are. */
const FREE_MAPS: ReadonlySet<string> = new Set(['details']);

const UPPER = /[A-Z]/;
const toSnake = (name: string): string => (UPPER.test(name) ? name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) : name);

/** By hand, not by a regular expression: every report passes here, and this is several times faster. */
function toCamel(name: string): string {
  let at = name.indexOf('_');
  if (at < 0) return name;
  let out = '';
  let from = 0;
  for (; at >= 0; at = name.indexOf('_', at + 1)) {
    const next = name.charCodeAt(at + 1);
    const startsWord = (next >= 97 && next <= 122) || (next >= 48 && next <= 57); // a-z, 0-9
    if (!startsWord) continue;
    out += name.slice(from, at) + name.charAt(at + 1).toUpperCase();
    from = at + 2;
    at += 1;
  }
  return out + name.slice(from);
}

/**
 * The JSON form of one of our messages: snake_case names, RFC 3339 times, int64 as a decimal string (as proto3 JSON has it).
 * Undefined members are left out.
 */
export function toWire(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString().replace('.000Z', 'Z'); // as proto3 JSON has it: no empty fraction
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return value.map(toWire);
  if (typeof value !== 'object' || value === null) return value;
  const out: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(value)) {
    if (member !== undefined) out[toSnake(key)] = FREE_MAPS.has(key) ? member : toWire(member);
  }
  return out;
}

/** Roots of paths into a Kubernetes object: its names are not ours to write otherwise. None of our messages has such a member. */
const FOREIGN_ROOTS: ReadonlySet<string> = new Set(['spec', 'metadata', 'status']);

/**
 * A path of an {@link Issue} as it is written on the wire: `config.allowedNetworks.0` is `config.allowed_networks.0`. Paths into a workload
 * (`spec.template.spec.hostNetwork`) and what lies inside a free map stay as they are.
 *
 * @example
 * error.issues.map(({ path, message }) => ({ path: wirePath(path), message }));
 */
export function wirePath(path: string): string {
  const segments = path.split('.');
  if (segments.length > 1 && FOREIGN_ROOTS.has(segments[0] ?? '')) return path;
  const freeMap = segments.findIndex((segment) => FREE_MAPS.has(segment));
  return segments.map((segment, index) => (freeMap >= 0 && index > freeMap ? segment : toSnake(segment))).join('.');
}

/** The reverse of names only: what the values mean is the schema's business. `__proto__` is dropped. */
export function fromWire(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(fromWire);
  const out: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    if (key === '__proto__') continue;
    const member = (value as Record<string, unknown>)[key];
    out[toCamel(key)] = typeof member !== 'object' || FREE_MAPS.has(key) ? member : fromWire(member);
  }
  return out;
}
