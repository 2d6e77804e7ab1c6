import { BifrostError } from '@bifrost/types/core';
import type { DescMessage, DescMethodServerStreaming, DescMethodUnary, MessageShape } from '@bufbuild/protobuf';
import type { NetworkManager } from '../../manager/network-manager.ts';
import type { Caller } from './caller.ts';
import { messageOf, plainOf } from './convert.ts';
import type { Handler } from './handlers.ts';
import { SERVICE_HANDLERS } from './service-handlers.ts';
import { SIDECAR_HANDLERS } from './sidecar-handlers.ts';
import { TAILNET_HANDLERS } from './tailnet-handlers.ts';

/** Leading header by which a door in front learns the HTTP status; it takes it away. */
export const HTTP_STATUS_HEADER = 'bifrost-http-status';

const HANDLERS: ReadonlyMap<string, Handler> = new Map<string, Handler>(
  Object.entries({ ...TAILNET_HANDLERS, ...SIDECAR_HANDLERS, ...SERVICE_HANDLERS }),
);

export interface NetworkApiOptions {
  readonly manager: NetworkManager;
  /** Says who calls, or undefined. */
  readonly authenticate: (caller: Caller) => Promise<string | undefined>;
}

export interface Answer<Message> {
  readonly message: Message;
  readonly httpStatus: number;
  /** For callers of any door. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The network API without a door: every door asks here, so that all give the same answers. */
export class NetworkApi {
  readonly #options: NetworkApiOptions;

  constructor(options: NetworkApiOptions) {
    this.#options = options;
  }

  /** @throws {BifrostError} as the manager's own calls, and what stands between a caller and them. */
  async call<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodUnary<Input, Output>,
    request: MessageShape<Input>,
    caller: Caller,
  ): Promise<Answer<MessageShape<Output>>> {
    const actor = await this.#actor(caller);
    const handler = HANDLERS.get(method.name);
    if (handler === undefined) throw new BifrostError({ code: 'PATH_NOT_FOUND', message: 'This method is not served.' });
    const { manager } = this.#options;
    const { body, httpStatus = 200, etag } = await handler({ manager, request: plainOf(method.input, request), actor, signal: caller.signal });
    return { message: messageOf(method.output, body), httpStatus, headers: etag === undefined ? {} : { etag: `"${etag}"` } };
  }

  async *stream<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodServerStreaming<Input, Output>,
    request: MessageShape<Input>,
    caller: Caller,
  ): AsyncIterable<MessageShape<Output>> {
    await this.#actor(caller);
    const { tailnetName } = plainOf(method.input, request);
    const filter = typeof tailnetName === 'string' && tailnetName !== '' ? { tailnetName } : {};
    for await (const event of this.#options.manager.monitorConnectivity({ ...filter, signal: caller.signal }))
      yield messageOf(method.output, { ...event });
  }

  async #actor(caller: Caller): Promise<string> {
    const actor = await this.#options.authenticate(caller);
    if (actor !== undefined) return actor;
    throw new BifrostError({
      code: 'UNAUTHENTICATED',
      message: 'Show a credential that this service knows.',
      issues: [{ path: 'authorization', message: 'is missing, or nobody vouches for it' }],
    });
  }
}
