import { Health, NetworkManager, HealthCheckResponse_ServingStatus as Status } from '@bifrost/types/proto';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import type { AnonymousStreams } from './anonymous-streams.ts';

/** Whether the service takes calls; it stops to before it closes, so that whoever stands in front looks elsewhere. */
export class Readiness {
  readonly #draining = new AbortController();

  get isServing(): boolean {
    return !this.#draining.signal.aborted;
  }

  /** Aborts when the service begins to close. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  drain(reason: unknown): void {
    this.#draining.abort(reason);
  }
}

const KNOWN: readonly string[] = ['', NetworkManager.typeName];

/** gRPC health checking, as load balancers and kubelets ask it. */
export function registerHealth(router: ConnectRouter, readiness: Readiness, streams: AnonymousStreams): void {
  const status = (): Status => (readiness.isServing ? Status.SERVING : Status.NOT_SERVING);
  router.service(Health, {
    check: ({ service }) => {
      if (!KNOWN.includes(service)) throw new ConnectError('This service is not known here.', Code.NotFound);
      return { status: status() };
    },
    async *watch({ service }, context) {
      using _place = streams.enter(context);
      const { signal } = context;
      if (!KNOWN.includes(service)) {
        yield { status: Status.SERVICE_UNKNOWN };
        return;
      }
      yield { status: status() };
      if (readiness.isServing) await either(signal, readiness.draining);
      if (!signal.aborted) yield { status: status() };
    },
  });
}

/** Waits until one of the two aborts. */
async function either(...signals: readonly AbortSignal[]): Promise<void> {
  const any = AbortSignal.any([...signals]);
  if (!any.aborted) await new Promise((resolve) => any.addEventListener('abort', resolve, { once: true }));
}
