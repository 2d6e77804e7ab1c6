/** A document with one thing changed, and a sentence that says which. */
export interface Mutation<T> {
  readonly what: string;
  readonly mutated: T;
}

type Change = readonly [what: string, value: unknown];
const GONE = Symbol('gone');

/** Every small change of NetworkPolicies that somebody could make by hand: exceptions dropped, ranges widened, labels flipped, ports and types changed. */
export function mutationsOf<T>(document: T): readonly Mutation<T>[] {
  return walk(document, []).map(([what, mutated]) => ({ what, mutated: mutated as T }));
}

function walk(value: unknown, path: readonly string[]): readonly Change[] {
  const own = changesOf(value, path).map(([what, changed]): Change => [`${path.join('.')}: ${what}`, changed]);
  if (typeof value !== 'object' || value === null) return own;
  const inner = Object.entries(value).flatMap(([key, member]) =>
    walk(member, [...path, key]).map(
      ([what, changed]): Change => [what, Array.isArray(value) ? replaced(value, Number(key), changed) : withMember(value, key, changed)],
    ),
  );
  return [...own, ...inner];
}

const replaced = (list: readonly unknown[], at: number, changed: unknown): readonly unknown[] =>
  list.flatMap((item, index) => (index !== at ? [item] : changed === GONE ? [] : [changed]));
const withMember = (object: object, key: string, changed: unknown): object =>
  Object.fromEntries(
    Object.entries(object).flatMap(([name, member]) => (name !== key ? [[name, member]] : changed === GONE ? [] : [[name, changed]])),
  );

function changesOf(value: unknown, path: readonly string[]): readonly Change[] {
  const [name = '', parent = '', grandparent = ''] = [...path].reverse();
  if (parent === 'except') return [['exception dropped', GONE]];
  if (name === 'cidr') return [['widened', wider(String(value))]];
  if (parent === 'matchLabels' || (parent === 'values' && grandparent !== '')) return [['flipped', `not-${value}`]];
  if (name === 'port' && typeof value === 'number') return [['next port', value + 1]];
  if (name === 'port') return [['another name', 'other']];
  if (name === 'endPort') return [['range cut', GONE]];
  if (name === 'protocol') return [['another protocol', value === 'TCP' ? 'UDP' : 'TCP']];
  if (parent === 'policyTypes') return [['other direction', value === 'Egress' ? 'Ingress' : 'Egress']];
  if (['egress', 'ingress', 'to', 'from', 'ports'].includes(parent)) return [['dropped', GONE]];
  return [];
}

/** One bit; the whole of a family has none left to lose, and becomes half of itself. */
function wider(cidr: string): string {
  const [network, bits] = cidr.split('/');
  return `${network}/${bits === '0' ? 1 : Number(bits) - 1}`;
}
