import type { ChangeOptions } from '../../manager/manager-core.ts';
import type { NetworkManager } from '../../manager/network-manager.ts';
import type { Principal } from '../auth/principal.ts';
import type { Plain } from './convert.ts';

/** One call, after it was let through. */
export interface HandlerCall {
  readonly manager: NetworkManager;
  readonly principal: Principal;
  /** What the request says. */
  readonly request: Plain;
  /** For the manager: who asks, within which scope, until when, and on which condition. */
  readonly options: ChangeOptions & { readonly signal: AbortSignal };
  /** Records that the call is done: before what the manager does without a record of its own. */
  readonly accepted: () => Promise<void>;
}

/** What a call answers: the members of its response, and what HTTP alone can say. */
export interface Outcome {
  readonly body: Plain;
  /** Default 200. */
  readonly httpStatus?: number;
  readonly etag?: string;
}

export type Handler = (call: HandlerCall) => Promise<Outcome>;
