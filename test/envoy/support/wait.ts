import { setTimeout as pause } from 'node:timers/promises';

/** Until it is true; fails after ten seconds. */
export async function waitFor(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let turn = 0; turn < 2_000; turn += 1) {
    if (await condition()) return;
    await pause(5);
  }
  throw new Error(`not within the time: ${condition.toString()}`);
}
