import { type Exchange, endToEnd, type Given, type Treatment } from './exchange.ts';
import { EXPIRED, refusal, refused, untilLeft } from './faults.ts';

export type WatchFault = 'twice' | 'dropped' | 'shuffled' | 'expired' | 'silent';

/** Watches that go wrong, and their lines: bookmarks too. */
export function watchFault(kind: WatchFault): () => (exchange: Exchange) => Treatment | undefined {
  return () => {
    const treatment = treatmentOf(kind);
    return ({ operation }) => (operation.endsWith('.watch') ? treatment : undefined);
  };
}

function treatmentOf(kind: WatchFault): Treatment {
  if (kind === 'expired') return expired();
  if (kind === 'silent') return silent;
  return async (given) => {
    const change = changes(kind);
    await follow(given, (line) => change(line));
    given.response.end();
  };
}

/** Tells what `change` makes of each line, until it makes nothing more of any: undefined. */
async function follow({ forward, response }: Given, change: (line: string) => readonly string[] | undefined): Promise<void> {
  const { statusCode, headers, body } = await forward();
  response.writeHead(statusCode, endToEnd(headers));
  response.flushHeaders();
  let rest = '';
  for await (const chunk of body as AsyncIterable<Buffer>) {
    if (response.destroyed) return;
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const told = change(line);
      if (told === undefined) return;
      for (const each of told) response.write(`${each}\n`);
    }
  }
}

/** Every event twice; every other one not at all; or every other one after its successor. */
function changes(kind: 'twice' | 'dropped' | 'shuffled'): (line: string) => readonly string[] {
  let count = 0;
  let kept: string | undefined;
  return (line) => {
    count += 1;
    if (kind === 'twice') return [line, line];
    if (kind === 'dropped') return count % 2 === 0 ? [] : [line];
    if (kept === undefined) {
      kept = line;
      return [];
    }
    const pair = [line, kept];
    kept = undefined;
    return pair;
  };
}

/** Every other watch is refused, because it begins at a version that is too old; in the others the second event says the same. */
function expired(): Treatment {
  let count = 0;
  return async (given) => {
    count += 1;
    if (count % 2 === 0) return refused(EXPIRED)(given);
    let lines = 0;
    await follow(given, (line) => {
      lines += 1;
      return lines === 1 ? [line] : undefined;
    });
    given.response.end(`{"type":"ERROR","object":${refusal('kubernetes', EXPIRED)}}\n`);
  };
}

/** It is opened, and then nothing comes, not even its end: as if the other side had lost its power. */
const silent: Treatment = async (given) => {
  await follow(given, () => []);
  await untilLeft(given);
};
