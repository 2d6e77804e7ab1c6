import { inProcessApi } from '../in-process.ts';
import { openInstalled } from '../installed.ts';
import { Session } from '../session.ts';
import type { Check } from './check.ts';
import { clusterChecks } from './cluster-checks.ts';
import { httpProbe, type Probe } from './probe.ts';
import { serviceChecks } from './service-checks.ts';

export interface Checks extends AsyncDisposable {
  readonly checks: readonly Check[];
}

/** What is to be looked at: of a service, or of a cluster. */
export async function checksOf(session: Session, probe: Probe = httpProbe): Promise<Checks> {
  if (session.options.cluster !== true) return { checks: serviceChecks(session), [Symbol.asyncDispose]: async () => {} };
  const installed = await openInstalled(session.options, session.cli);
  const api = inProcessApi({ manager: installed.manager, user: session.cli.user });
  const connection = { transport: api.transport, isLive: false, place: 'the cluster', [Symbol.asyncDispose]: async () => {} };
  const inside = new Session({ ...session.cli, openCluster: async () => connection }, session.options);
  return {
    checks: clusterChecks(installed, inside, probe),
    async [Symbol.asyncDispose]() {
      api[Symbol.dispose]();
      await installed[Symbol.asyncDispose]();
    },
  };
}
