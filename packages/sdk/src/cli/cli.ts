import type { Clock } from '../ports/clock.ts';
import type { OpenCluster } from './connect.ts';

/** Where text goes. */
export interface Output {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

/** The world around one run of the command: `main.ts` gives the process's, a test its own. */
export interface Cli {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: AsyncIterable<string | Uint8Array>;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Aborts when whoever runs it wants it to end. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** Who runs it: the actor of calls that no service stands behind. */
  readonly user: string;
  readonly openCluster: OpenCluster;
}
