import type { Command, Option } from 'commander';
import type { Cli } from './cli.ts';
import type { GlobalOptions } from './connect.ts';
import { allSidecars, allTailnets } from './lists.ts';
import { Session } from './session.ts';

/** A shell waits for this: after so long it gets nothing. */
const LIMIT_MS = 1_000;

/** What names are to be asked for. */
type Named = 'tailnet' | 'sidecar';

interface Place {
  readonly command: Command;
  /** The option whose value is being written. */
  readonly option: Option | undefined;
  /** Positional words before the one being written. */
  readonly positional: number;
  readonly given: Readonly<Record<string, string | boolean>>;
}

const optionsOf = (command: Command): readonly Option[] => [...command.options, ...(command.parent === null ? [] : optionsOf(command.parent))];

/** Where in the tree the last word stands. */
function placeOf(program: Command, before: readonly string[]): Place {
  let command = program;
  let option: Option | undefined;
  let positional = 0;
  const given: Record<string, string | boolean> = {};
  for (const word of before) {
    if (option !== undefined) {
      given[option.attributeName()] = word;
      option = undefined;
      continue;
    }
    const known = word.startsWith('-') ? optionsOf(command).find(({ long, short }) => word === long || word === short) : undefined;
    if (known !== undefined) {
      if (known.required) option = known;
      else given[known.attributeName()] = true;
      continue;
    }
    const next = positional === 0 ? command.commands.find((one) => one.name() === word) : undefined;
    if (next !== undefined) command = next;
    else if (!word.startsWith('-')) positional += 1;
  }
  return { command, option, positional, given };
}

const namedOf = (name: string | undefined): Named | undefined => (name === 'tailnet' || name === 'sidecar' ? name : undefined);

/** Words that may stand where the last word is being written. */
async function candidates(place: Place, current: string, ask: (named: Named) => Promise<readonly string[]>): Promise<readonly string[]> {
  const { command, option, positional } = place;
  if (option !== undefined) {
    const named = namedOf(option.attributeName());
    return option.argChoices ?? (named === undefined ? [] : ask(named));
  }
  if (current.startsWith('-')) return optionsOf(command).flatMap(({ long, hidden }) => (long === undefined || long === null || hidden ? [] : [long]));
  if (command.commands.length > 0) return command.commands.map((one) => one.name()).filter((name) => !name.startsWith('_'));
  const argument = command.registeredArguments[positional];
  const named = namedOf(argument?.name());
  return argument?.argChoices ?? (named === undefined ? [] : ask(named));
}

/** Names by the service, if one is named and answers soon. */
async function namesBy(cli: Cli, given: Place['given'], named: Named): Promise<readonly string[]> {
  const limit = AbortSignal.any([cli.signal, AbortSignal.timeout(LIMIT_MS)]);
  const options = { manager: 'bifrost/network-manager', ...given, output: 'table', requestTimeout: `${LIMIT_MS}ms` } as GlobalOptions;
  await using session = new Session({ ...cli, signal: limit }, options);
  if (named === 'tailnet') return (await allTailnets(session)).map(({ tailnetName }) => tailnetName);
  return (await allSidecars(session)).flatMap(({ workload }) => (workload === undefined ? [] : [`${workload.namespace}/${workload.name}`]));
}

/** The words, one per line, that a shell may offer for the last of `words`. Whatever goes wrong, it offers nothing. */
export async function complete(program: Command, words: readonly string[], cli: Cli): Promise<readonly string[]> {
  const current = words.at(-1) ?? '';
  const place = placeOf(program, words.slice(0, -1));
  const ask = (named: Named): Promise<readonly string[]> => namesBy(cli, place.given, named).catch(() => []);
  const found = await candidates(place, current, ask);
  // What a shell would read as more than a word is not offered.
  return [...new Set(found)].filter((word) => word.startsWith(current) && /^[\w./:@-]+$/.test(word)).sort();
}
