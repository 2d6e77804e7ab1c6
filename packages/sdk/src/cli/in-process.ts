import { BifrostError } from '@bifrost/types/core';
import type { DescMethod } from '@bufbuild/protobuf';
import { createRouterTransport, type Transport } from '@connectrpc/connect';
import type { NetworkManager } from '../manager/network-manager.ts';
import { registerNetworkApi } from '../server/api/grpc-door.ts';
import { NetworkApi } from '../server/api/network-api.ts';
import type { Principal } from '../server/auth/principal.ts';

export interface InProcessOptions {
  readonly manager: NetworkManager;
  /** Who runs the command. */
  readonly user: string;
  /** Says why a method cannot be served here, or nothing. */
  readonly refuse?: (method: string) => string | undefined;
}

export interface InProcess extends Disposable {
  readonly transport: Transport;
}

/** Nobody else calls: no limit is ever met. */
const UNLIMITED = { pointsPerSecond: 1_000_000, burst: 1_000_000 };
/** `--request-timeout` comes first. */
const CALL_MS = 86_400_000;

/** The network API of a manager in this process, by the handlers that a service has: commands know no other way. What may be done, the cluster says. */
export function inProcessApi({ manager, user, refuse = () => undefined }: InProcessOptions): InProcess {
  const principal: Principal = { subject: user, via: 'local', grants: [{ role: 'admin', customers: '*' }] };
  const api = new NetworkApi({
    manager,
    authenticator: { authenticate: async () => principal },
    rateLimits: { caller: UNLIMITED, customer: UNLIMITED, attempt: UNLIMITED },
    callTimeoutMs: CALL_MS,
  });
  const transport = createRouterTransport((router) => registerNetworkApi(router, api));
  const check = ({ name }: DescMethod): void => {
    const reason = refuse(name);
    if (reason !== undefined) throw new BifrostError({ code: 'INVALID_OPTIONS', message: reason });
  };
  return {
    transport: {
      unary: async (method, ...rest) => {
        check(method);
        return transport.unary(method, ...rest);
      },
      stream: async (method, ...rest) => {
        check(method);
        return transport.stream(method, ...rest);
      },
    },
    [Symbol.dispose]: () => api[Symbol.dispose](),
  };
}
