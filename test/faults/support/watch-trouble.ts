import { eventually } from '../../lab/support/eventually.ts';
import type { Exchange } from './exchange.ts';
import type { Fault } from './faults.ts';
import { converge, newLife } from './lives.ts';
import { attachUntilConnected, playSteps, timed } from './scenario.ts';
import type { World } from './world.ts';

/** Long enough for a rate: pauses between watches that break are short at its beginning, and a life may end soon. */
const LASTS_MS = 18_000;
const LIFE = ['create', 'attach', 'update the sidecar', 'detach', 'delete'];

/** What was seen while watches went wrong: they are everybody's. */
export interface Trouble {
  /** Whole lives that went through meanwhile. */
  readonly lives: number;
  readonly lastedMs: number;
  readonly watchesPerMinute: number;
  /** Watches, lists, and whatever else is asked for no customer. Of both without the first of each collection. */
  readonly sharedCallsPerMinute: number;
  /** Attaching the book of another customer before and meanwhile, milliseconds. */
  readonly attachBeforeMs: number;
  readonly attachMeanwhileMs: number;
  /** From the end of the fault until each watch was well again, by nobody's help, and that other customer's ledger was exact. */
  readonly recoveredMs: number;
}

/** Watches go wrong for a while: one customer after the other lives a whole life, and another one attaches a book before and meanwhile. */
export async function troubleWatches(world: World, fault: Fault): Promise<Trouble> {
  const other = await newLife(world, 'organization');
  await playSteps(world, other, ['create']);
  const attachBeforeMs = await timed(() => attachUntilConnected(world, other));
  await converge(world, { ...other, state: 'attached' });
  other.state = 'attached';
  await playSteps(world, other, ['detach']);
  const begun = { at: world.exchanges.length, ms: performance.now() };
  let lives = 0;
  let attachMeanwhileMs = 0;
  {
    using _lasting = world.treat(fault.begin());
    world.breakWatches();
    const live = async (): Promise<void> => {
      for (; performance.now() - begun.ms < LASTS_MS; lives += 1) await playSteps(world, await newLife(world, 'customer-owned'), LIFE);
    };
    [attachMeanwhileMs] = await Promise.all([timed(() => attachUntilConnected(world, other)), live()]);
  }
  const lastedMs = Math.round(performance.now() - begun.ms);
  const shared = afterTheFirst(world.exchanges.slice(begun.at).filter(({ customer }) => customer === undefined));
  const perMinute = (count: number): number => Math.round((count * 60_000) / lastedMs);
  other.state = 'attached';
  const recoveredMs = await timed(async () => {
    await begunAnew(world);
    await converge(world, other);
  });
  await playSteps(world, other, ['delete with cascade']);
  const watchesPerMinute = perMinute(shared.filter(isWatch).length);
  return { lives, lastedMs, watchesPerMinute, sharedCallsPerMinute: perMinute(shared.length), attachBeforeMs, attachMeanwhileMs, recoveredMs };
}

/** Without what ended watches lead to by themselves: each collection is listed and watched anew once, however long all of it lasts. */
function afterTheFirst(exchanges: readonly Exchange[]): readonly Exchange[] {
  const begun = new Set<string>();
  return exchanges.filter(({ operation, target }) => {
    const what = `${operation} ${target.split('?')[0]}`;
    const isFirst = !begun.has(what);
    begun.add(what);
    return !isFirst || !/\.(watch|list)$/.test(operation);
  });
}

const isWatch = ({ operation }: Exchange): boolean => operation.endsWith('.watch');

/** Until every collection is watched anew, and once more after its time: then each is known to be well, and what breaks next is no repetition. */
async function begunAnew(world: World): Promise<void> {
  const pathsOf = (exchanges: readonly Exchange[]) => exchanges.filter(isWatch).map(({ target }) => target.split('?')[0]);
  const at = world.exchanges.length;
  const all = [...new Set(pathsOf(world.exchanges))];
  const isTwice = (): boolean => {
    const begun = pathsOf(world.exchanges.slice(at));
    return all.every((path) => begun.indexOf(path) !== begun.lastIndexOf(path));
  };
  await eventually('each watch is begun anew', isTwice, { timeoutMs: 60_000, intervalMs: 50 });
}
