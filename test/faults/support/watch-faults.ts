import { type Exchange, endToEnd, type Treatment } from './exchange.ts';

export type WatchFault = 'twice' | 'dropped' | 'shuffled';

/** Lines of a watch that go wrong: bookmarks too. */
export function watchFault(kind: WatchFault): () => (exchange: Exchange) => Treatment | undefined {
  return () => (exchange) => (exchange.operation.endsWith('.watch') ? faulty(kind) : undefined);
}

const faulty =
  (kind: WatchFault): Treatment =>
  async ({ forward, response }) => {
    const { statusCode, headers, body } = await forward();
    response.writeHead(statusCode, endToEnd(headers));
    response.flushHeaders();
    const change = changes(kind);
    let rest = '';
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (response.destroyed) return;
      const lines = (rest + chunk.toString('utf8')).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines.flatMap(change)) response.write(`${line}\n`);
    }
    response.end();
  };

/** Every event twice; every other one not at all; or every other one after its successor. */
function changes(kind: WatchFault): (line: string) => readonly string[] {
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
