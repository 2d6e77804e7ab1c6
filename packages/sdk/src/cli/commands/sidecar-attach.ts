import { NetworkManager, NetworkModeSchema, type PlanAttachSidecarResponse, type Sidecar, Sidecar_Status, SidecarSchema } from '@bifrost/types/proto';
import { stringify } from 'yaml';
import type { ExitCode } from '../exit-codes.ts';
import { safeText } from '../safe-text.ts';
import type { Session } from '../session.ts';
import { factLines } from '../table.ts';
import { policyLines, reasonText, sidecarStatus } from '../views.ts';
import { waitUntil } from '../wait.ts';
import { numberOf, wireOf } from '../wire.ts';
import { sidecarOf } from './sidecar-named.ts';

export interface Wishes {
  readonly tailnet: string;
  readonly hostname: string;
  readonly advertise?: readonly string[];
  readonly acceptRoutes?: boolean;
  readonly ssh?: boolean;
  readonly mode?: string;
}

export interface AttachOptions extends Wishes {
  readonly wait?: boolean;
  readonly timeout: string;
  readonly dryRun?: boolean;
}

export const configOf = ({ hostname, advertise = [], acceptRoutes = false, ssh = false, mode }: Wishes) => ({
  hostname,
  advertiseRoutes: [...advertise],
  acceptRoutes,
  enableSsh: ssh,
  networkMode: numberOf(NetworkModeSchema, mode),
});

export async function attachSidecar(
  session: Session,
  [bookDeploymentId = '']: readonly string[],
  options: AttachOptions,
): Promise<ExitCode | undefined> {
  const request = { bookDeploymentId, tailnetName: options.tailnet, config: configOf(options) };
  if (options.dryRun === true) {
    const method = NetworkManager.method.planAttachSidecar;
    const plan = await session.call(method, request);
    session.show.answer(wireOf(method.output, plan), () => planLines(plan));
    return undefined;
  }
  const method = NetworkManager.method.attachSidecar;
  const attached = await session.call(method, request);
  const { sidecarId } = attached;
  if (options.wait !== true) {
    session.show.answer(wireOf(method.output, attached), () => [
      `sidecar ${sidecarId} is ${sidecarStatus(attached)}; \`bifrost sidecar get ${sidecarId}\` says when it is connected`,
    ]);
    return undefined;
  }
  const connected = await waitUntil(session, {
    what: `sidecar ${sidecarId}`,
    timeout: options.timeout,
    look: async () => lookAt(await sidecarOf(session, sidecarId)),
  });
  session.show.answer(wireOf(SidecarSchema, connected), () => [`sidecar ${sidecarId} is connected as ${connected.ipAddress}`]);
  return undefined;
}

export function standText(sidecar: Sidecar): string {
  const { instances, reason } = sidecar;
  const up = instances.filter((instance) => instance.status === Sidecar_Status.connected).length;
  const pods = instances.length === 0 ? 'no pod yet' : `${up} of ${instances.length} pods connected`;
  return `${sidecarStatus(sidecar)}, ${reason === undefined ? pods : `${reason.code}: ${reasonText(reason)}`}`;
}

function lookAt(sidecar: Sidecar | undefined) {
  if (sidecar === undefined) return { text: 'gone', failed: 'it was detached meanwhile' };
  const text = standText(sidecar);
  if (sidecar.status === Sidecar_Status.connected) return { text, done: { value: sidecar } };
  return sidecar.status === Sidecar_Status.failed && sidecar.reason !== undefined ? { text, failed: text } : { text };
}

function planLines(plan: PlanAttachSidecarResponse): readonly string[] {
  const { workload } = plan;
  const where = workload === undefined ? '' : `${workload.kind} ${workload.namespace}/${workload.name}`;
  if (plan.attached) return [`would change nothing: ${safeText(where)} has this sidecar already (${safeText(plan.sidecarId)})`];
  return [
    ...factLines([
      ['would attach', where],
      ['by', plan.form === 'prepend' ? 'a JSON Patch that puts ours before its own init containers' : 'server-side apply'],
      ['its pods', 'would be replaced'],
    ]),
    ...policyLines(plan.networkPolicies === undefined ? [] : [plan.networkPolicies]),
    '',
    'what is added to the pod template:',
    ...stringify(plan.fragment ?? {}, { lineWidth: 0 })
      .trimEnd()
      .split('\n')
      .map((line) => `  ${safeText(line)}`),
  ];
}
