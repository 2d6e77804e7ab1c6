/** What a change says, as `update_mask` has it: a member that is named is replaced, and one that is to be cleared is named without a value. */
export interface Change<Config> {
  readonly config: Config;
  readonly paths: readonly string[];
}

/** Of the options that were given, by the names that the service knows the members by. */
export function changeOf<Config extends object>(
  config: Config,
  { cleared = [], top = [] }: { readonly cleared?: readonly string[]; readonly top?: readonly string[] },
): Change<Config> {
  const given = Object.entries(config).filter(([, value]) => value !== undefined);
  const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const paths = new Set([...given.map(([name]) => `config.${snake(name)}`), ...cleared, ...top]);
  return { config: Object.fromEntries(given) as Config, paths: [...paths] };
}
