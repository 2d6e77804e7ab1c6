import { NetworkManager } from '@bifrost/types/proto';
import type { DescMethod, DescMethodServerStreaming, DescMethodUnary, Message } from '@bufbuild/protobuf';
import { type ConnectRouter, createContextKey, type HandlerContext, type MethodImpl } from '@connectrpc/connect';
import { type ApiCall, HTTP_STATUS_HEADER } from './api-call.ts';
import type { Caller, Peer } from './caller.ts';
import { connectError, httpStatusOf } from './errors.ts';
import type { NetworkApi } from './network-api.ts';

/** Who is at the other end; the server knows, Connect does not. */
export const PEER = createContextKey<Peer>({ address: '', encrypted: false });

/** Who calls, as Connect has taken the call. */
export const callerIn = (context: HandlerContext): Caller => ({
  header: (name) => context.requestHeader.get(name) ?? undefined,
  peer: context.values.get(PEER),
  signal: context.signal,
});

/** Puts the service on a router: gRPC, gRPC-Web and Connect. */
export function registerNetworkApi(router: ConnectRouter, api: NetworkApi): void {
  for (const method of NetworkManager.methods as readonly DescMethod[]) {
    if (isUnary(method)) router.rpc(method, unary(api, method));
    else if (isServerStreaming(method)) router.rpc(method, serverStreaming(api, method));
  }
}

const isUnary = (method: DescMethod): method is DescMethodUnary => method.methodKind === 'unary';
const isServerStreaming = (method: DescMethod): method is DescMethodServerStreaming => method.methodKind === 'server_streaming';

function unary(api: NetworkApi, method: DescMethodUnary): MethodImpl<DescMethodUnary> {
  return async (request: Message, context: HandlerContext) => {
    const call = api.begin(callerIn(context));
    try {
      await call.admit(method.name);
      const { message, httpStatus } = await call.run(method, request);
      tell(context, call, httpStatus);
      return message;
    } catch (error) {
      throw refused(context, call, error);
    }
  };
}

function serverStreaming(api: NetworkApi, method: DescMethodServerStreaming): MethodImpl<DescMethodServerStreaming> {
  return async function* (request: Message, context: HandlerContext) {
    const call = api.begin(callerIn(context));
    try {
      await call.admit(method.name);
      const events = await call.open(method, request);
      tell(context, call, 200);
      yield* events;
    } catch (error) {
      throw refused(context, call, error);
    }
  };
}

function tell({ responseHeader }: HandlerContext, { headers }: ApiCall, httpStatus: number): void {
  responseHeader.set(HTTP_STATUS_HEADER, String(httpStatus));
  for (const [name, value] of Object.entries(headers)) responseHeader.set(name, value);
}

function refused(context: HandlerContext, call: ApiCall, error: unknown): unknown {
  if (context.signal.aborted) return context.signal.reason;
  const known = call.told(error);
  tell(context, call, httpStatusOf(known));
  return connectError(known, call.identity.requestId);
}
