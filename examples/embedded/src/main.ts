import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { toWire } from '@bifrost/sdk';
import { type Outcome, tell } from './story.ts';

const { values } = parseArgs({ options: { once: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } } });
const startedMs = performance.now();

// With --json stdout is for the one document; progress goes to stderr.
const out = values.json ? process.stderr : process.stdout;
const say = (line: string): void => void out.write(`${((performance.now() - startedMs) / 1000).toFixed(2).padStart(6)} s  ${line}\n`);
const interactive = process.stdout.isTTY === true && !values.once && !values.json;

async function linger(): Promise<void> {
  if (!interactive) return;
  say('all is connected; press Ctrl-C to detach everything and end');
  await once(process, 'SIGINT');
}

const outcome = await tell({ say, linger });
if (values.json) process.stdout.write(`${JSON.stringify(document(outcome))}\n`);
if (Object.values(outcome.leftovers).some((count) => count !== 0) || outcome.isolation.crossTailnetVisible !== 0) process.exitCode = 1;

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
