/** Prometheus' text form. */
export type Labels = Readonly<Record<string, string>>;
export type Sample = readonly [labels: Labels, value: number];
export type Kind = 'gauge' | 'counter';

const PREFIX = 'bifrost_agent_';
const escaped = (value: string): string => value.replace(/[\\"\n]/g, (sign) => (sign === '\n' ? '\\n' : `\\${sign}`));

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** One family; empty without samples. */
export function family(name: string, [kind, help]: readonly [Kind, string], samples: readonly Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.map(([labels, value]) => `${PREFIX}${name}${labelText(labels)} ${value}\n`);
  return `# HELP ${PREFIX}${name} ${help}\n# TYPE ${PREFIX}${name} ${kind}\n${lines.join('')}`;
}

/** A family of one sample without labels; empty while there is no value. */
export function single(name: string, about: readonly [Kind, string], value: number | boolean | undefined): string {
  return family(name, about, value === undefined ? [] : [[{}, Number(value)]]);
}
