/** What the process needs of the command, and all that is loaded before it is known which one was called. */
export { systemClock } from '../adapters/system/clock.ts';
export { runCli } from './run.ts';
