import type { Cli } from './cli.ts';
import type { Connection, GlobalOptions } from './connect.ts';
import { inProcessApi } from './in-process.ts';
import { type Installed, openInstalled } from './installed.ts';

/** Calls that render a sidecar, or compare with one that would be rendered. */
const RENDERING: ReadonlySet<string> = new Set([
  ...['AttachSidecar', 'PlanAttachSidecar', 'InjectSidecar', 'UpdateSidecar', 'PlanUpdateSidecar'],
  ...['UpdateTailnet', 'PlanUpdateTailnet', 'UpgradeSidecars', 'PlanUpgradeSidecars'],
]);

/** Why a call is refused here: it would render something else than the manager does. */
export function refusalOf({ lacking, place, trouble }: Installed, method: string): string | undefined {
  if (lacking.length === 0 || !RENDERING.has(method)) return undefined;
  const why = trouble === undefined ? `of Deployment ${place.namespace}/${place.name}` : `because it cannot be read: ${trouble.message}`;
  return `This needs the manager's settings, and these are not known (${lacking.join(', ')}) ${why}. Name the Deployment with --manager, or set them here.`;
}

/** `--cluster`: the SDK itself on the cluster's objects, by the same handlers as a service. It is not started: calls write wishes. */
export async function connectCluster(options: GlobalOptions, cli: Cli): Promise<Connection> {
  const installed = await openInstalled(options, cli);
  const { manager } = installed;
  const api = inProcessApi({ manager, user: cli.user, refuse: (method) => refusalOf(installed, method) });
  return {
    transport: api.transport,
    isLive: false,
    place: 'the cluster',
    async [Symbol.asyncDispose]() {
      api[Symbol.dispose]();
      await installed[Symbol.asyncDispose]();
    },
  };
}
