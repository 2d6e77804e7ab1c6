import { NetworkManager } from '@bifrost/types/proto';
import type { DescMethod, DescMethodServerStreaming, DescMethodUnary, Message } from '@bufbuild/protobuf';
import type { ConnectRouter, HandlerContext, MethodImpl } from '@connectrpc/connect';
import type { Caller } from './caller.ts';
import { connectError, httpStatusOf, told } from './errors.ts';
import { HTTP_STATUS_HEADER, type NetworkApi } from './network-api.ts';

const callerOf = (context: HandlerContext): Caller => ({
  header: (name) => context.requestHeader.get(name) ?? undefined,
  peer: { address: '' },
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
    try {
      const { message, httpStatus, headers } = await api.call(method, request, callerOf(context));
      context.responseHeader.set(HTTP_STATUS_HEADER, String(httpStatus));
      for (const [name, value] of Object.entries(headers)) context.responseHeader.set(name, value);
      return message;
    } catch (error) {
      throw refused(context, error);
    }
  };
}

function serverStreaming(api: NetworkApi, method: DescMethodServerStreaming): MethodImpl<DescMethodServerStreaming> {
  return async function* (request: Message, context: HandlerContext) {
    try {
      yield* api.stream(method, request, callerOf(context));
    } catch (error) {
      throw refused(context, error);
    }
  };
}

function refused(context: HandlerContext, error: unknown): unknown {
  if (context.signal.aborted) return context.signal.reason;
  const known = told(error);
  context.responseHeader.set(HTTP_STATUS_HEADER, String(httpStatusOf(known)));
  return connectError(known);
}
