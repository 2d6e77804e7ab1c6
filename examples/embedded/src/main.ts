import { parseArgs } from 'node:util';
import { toWire } from '@bifrost/sdk';
import { type Outcome, tell } from './story.ts';

const values = readArguments();
const startedMs = performance.now();

// With --json stdout is for the one document; progress goes to stderr.
const out = values.json ? process.stderr : process.stdout;
const say = (line: string): void => void out.write(`${((performance.now() - startedMs) / 1000).toFixed(2).padStart(6)} s  ${line}\n`);
const interactive = process.stdout.isTTY === true && !values.once && !values.json;

// Whatever ends the run early, its agents and their files go with it.
const stopping = new AbortController();
let endLinger: (() => void) | undefined;
let firstSignalMs: number | undefined;
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    const again = firstSignalMs !== undefined && performance.now() - firstSignalMs < 1_000; // a terminal and npm may both tell
    firstSignalMs ??= performance.now();
    if (again) return;
    if (endLinger === undefined) stopping.abort(new Interrupted(name));
    else endLinger();
    endLinger = undefined;
  });
}

async function linger(): Promise<void> {
  if (!interactive) return;
  const ended = new Promise<void>((resolve) => {
    endLinger = resolve;
  });
  say('all is connected; press Ctrl-C to detach everything and end');
  await ended;
}

class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

try {
  const outcome = await tell({ say, linger, signal: stopping.signal });
  if (values.json) process.stdout.write(`${JSON.stringify(document(outcome))}\n`);
  if (Object.values(outcome.leftovers).some((count) => count !== 0) || outcome.isolation.crossTailnetVisible !== 0) process.exitCode = 1;
} catch (error) {
  if (!(error instanceof Interrupted)) throw error;
  say(`ended early by ${error.message}; agents and their files are gone`);
  process.exitCode = 130;
}

function readArguments(): { readonly once: boolean; readonly json: boolean } {
  try {
    return parseArgs({ options: { once: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } } }).values;
  } catch {
    process.stderr.write('usage: npm start -- [--once] [--json]\n');
    process.exit(2);
  }
}

/** The documented shape: names as on the wire. */
function document({ tailnets, sidecars, status, metrics, events, isolation, leftovers, timingsMs }: Outcome): unknown {
  return toWire({
    tailnets: tailnets.map(({ tailnetName, status: state }) => ({ tailnetName, status: state })),
    sidecars: sidecars.map(({ sidecarId, tailnetName, status: state, ipAddress }) => ({ sidecarId, tailnetName, status: state, ipAddress })),
    status,
    metrics,
    events,
    isolation,
    leftovers,
    timingsMs,
  });
}
