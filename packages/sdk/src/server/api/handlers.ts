import type { NetworkManager } from '../../manager/network-manager.ts';
import type { Plain } from './convert.ts';

/** One call, after it was let through. */
export interface HandlerCall {
  readonly manager: NetworkManager;
  /** What the request says. */
  readonly request: Plain;
  readonly actor: string;
  readonly signal: AbortSignal;
}

/** What a call answers: the members of its response, and what HTTP alone can say. */
export interface Outcome {
  readonly body: Plain;
  /** Default 200. */
  readonly httpStatus?: number;
  readonly etag?: string;
}

export type Handler = (call: HandlerCall) => Promise<Outcome>;
