/** For benches, which measure over time; tests wait for conditions. */
export { setTimeout as pause } from 'node:timers/promises';
