import { BifrostError } from '@bifrost/types/core';
import type { DescMethod } from '@bufbuild/protobuf';
import { createRouterTransport, type Transport } from '@connectrpc/connect';
import type { NetworkManager } from '../manager/network-manager.ts';
import { registerNetworkApi } from '../server/api/grpc-door.ts';
import { NetworkApi } from '../server/api/network-api.ts';

export interface InProcessOptions {
  readonly manager: NetworkManager;
  /** Whom audit records name. */
  readonly actor: string;
  /** Says why a method cannot be served here, or nothing. */
  readonly refuse?: (method: string) => string | undefined;
}

/** The network API of a manager in this process, by the handlers that a service has: commands know no other way. */
export function inProcessTransport({ manager, actor, refuse = () => undefined }: InProcessOptions): Transport {
  const api = new NetworkApi({ manager, authenticate: async () => actor });
  const transport = createRouterTransport((router) => registerNetworkApi(router, api));
  const check = ({ name }: DescMethod): void => {
    const reason = refuse(name);
    if (reason !== undefined) throw new BifrostError({ code: 'INVALID_OPTIONS', message: reason });
  };
  return {
    unary: async (method, ...rest) => {
      check(method);
      return transport.unary(method, ...rest);
    },
    stream: async (method, ...rest) => {
      check(method);
      return transport.stream(method, ...rest);
    },
  };
}
