import { AccessPolicySchema, NetworkManager, TailnetSchema } from '@bifrost/types/proto';
import { changeOf } from '../changes.ts';
import { usage } from '../connect.ts';
import { tellDry, wouldBeRefused } from '../dry-run.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { allSidecars } from '../lists.ts';
import { countText } from '../quantities.ts';
import type { Session } from '../session.ts';
import { reasonText, showPlan, tailnetStatus, workloadText } from '../views.ts';
import { waitUntil } from '../wait.ts';
import { numberOf, wireOf } from '../wire.ts';
import { tailnetOf } from './tailnet-create.ts';

export interface UpdateOptions {
  readonly allow?: readonly string[];
  readonly block?: readonly string[];
  readonly policy?: string;
  readonly logging?: boolean;
  readonly tag?: readonly string[];
  readonly managePolicy?: boolean;
  readonly clear?: readonly string[];
  readonly allowRollout?: boolean;
  readonly confirm?: boolean;
  readonly etag?: string;
  readonly dryRun?: boolean;
}

const CLEARED: Readonly<Record<string, string>> = { allow: 'config.allowed_networks', block: 'config.blocked_networks', tag: 'tags' };

export async function updateTailnet(session: Session, [tailnetName = '']: readonly string[], options: UpdateOptions): Promise<ExitCode | undefined> {
  const { allow, block, policy, logging, tag, managePolicy, clear = [], allowRollout = false, confirm = false, etag = '' } = options;
  const members = {
    allowedNetworks: allow && [...allow],
    blockedNetworks: block && [...block],
    accessPolicy: policy === undefined ? undefined : numberOf(AccessPolicySchema, policy),
    enableLogging: logging,
  };
  const cleared = clear.map((name) => CLEARED[name] ?? '');
  if (cleared.includes('')) throw usage('--clear takes allow, block or tag.', '--clear');
  const { config, paths } = changeOf(
    members as Partial<{ allowedNetworks: string[]; blockedNetworks: string[]; accessPolicy: number; enableLogging: boolean }>,
    {
      cleared,
      top: [...(tag === undefined ? [] : ['tags']), ...(managePolicy === undefined ? [] : ['manage_policy'])],
    },
  );
  if (paths.length === 0) throw usage('Say what to change: --allow, --block, --policy, --logging, --tag, --manage-policy, --clear.');
  const more = managePolicy === undefined ? {} : { managePolicy };
  const change = { tailnetName, config, tags: [...(tag ?? [])], ...more, updateMask: { paths: [...paths] } };
  if (options.dryRun === true) {
    await showPlan(session, NetworkManager.method.planUpdateTailnet, change);
    return undefined;
  }
  const { tailnet } = await session.call(NetworkManager.method.updateTailnet, { ...change, allowRollout, confirm, etag });
  if (tailnet !== undefined)
    session.show.answer(wireOf(TailnetSchema, tailnet), () => [`tailnet ${tailnetName} is as it was asked for (${tailnetStatus(tailnet)})`]);
  return undefined;
}

export interface DeleteOptions {
  readonly cascade?: boolean;
  readonly abandon?: boolean;
  readonly etag?: string;
  readonly wait?: boolean;
  readonly timeout: string;
  readonly dryRun?: boolean;
}

export async function deleteTailnet(session: Session, [tailnetName = '']: readonly string[], options: DeleteOptions): Promise<ExitCode | undefined> {
  const { cascade = false, abandon = false, etag = '' } = options;
  if (options.dryRun === true) return dryDelete(session, tailnetName, cascade);
  const method = NetworkManager.method.deleteTailnet;
  const answer = await session.call(method, { tailnetName, cascade, abandon, etag });
  if (options.wait === true) {
    const look = async () => {
      const tailnet = await tailnetOf(session, tailnetName);
      if (tailnet === undefined) return { text: 'gone', done: { value: true } };
      const reason = tailnet.reason === undefined ? '' : ` (${tailnet.reason.code}: ${reasonText(tailnet.reason)})`;
      return { text: `${tailnetStatus(tailnet)}${reason}` };
    };
    await waitUntil(session, { what: `tailnet ${tailnetName}`, timeout: options.timeout, look });
  }
  session.show.answer(wireOf(method.output, answer), () => [`tailnet ${tailnetName} is ${options.wait === true ? 'gone' : 'being deleted'}`]);
  return undefined;
}

async function dryDelete(session: Session, tailnetName: string, cascade: boolean): Promise<ExitCode> {
  await session.call(NetworkManager.method.getTailnet, { tailnetName }); // its absence is the answer then
  const sidecars = await allSidecars(session, { tailnetName });
  if (sidecars.length > 0 && !cascade)
    throw wouldBeRefused('TAILNET_IN_USE', `It still has ${countText(sidecars.length, 'sidecar')}: detach first, or use --cascade.`, 'tailnetName');
  tellDry(session, {
    would: 'delete',
    more: { sidecars: sidecars.map(({ sidecarId }) => sidecarId) },
    lines: [
      `would delete tailnet ${tailnetName}${sidecars.length === 0 ? '' : `, and first detach its ${countText(sidecars.length, 'sidecar')}; their pods are replaced:`}`,
      ...(sidecars.length === 0
        ? []
        : session.show.table({ head: ['SIDECAR', 'WORKLOAD'], rows: sidecars.map((sidecar) => [sidecar.sidecarId, workloadText(sidecar)]) })),
    ],
  });
  return EXIT.ok;
}

export interface PauseOptions {
  readonly etag?: string;
  readonly dryRun?: boolean;
}

export async function pauseTailnet(
  session: Session,
  { tailnetName, paused }: { readonly tailnetName: string; readonly paused: boolean },
  { etag = '', dryRun = false }: PauseOptions,
): Promise<ExitCode | undefined> {
  const [verb, state] = paused ? ['pause', 'paused'] : ['resume', 'not paused'];
  if (dryRun) {
    const { tailnet } = await session.call(NetworkManager.method.getTailnet, { tailnetName });
    const isSo = tailnet?.paused === paused;
    const line = isSo ? `would change nothing: tailnet ${tailnetName} is ${state} already` : `would ${verb} tailnet ${tailnetName}`;
    tellDry(session, { would: isSo ? 'nothing' : verb, lines: [line] });
    return undefined;
  }
  const method = paused ? NetworkManager.method.pauseTailnet : NetworkManager.method.resumeTailnet;
  const { tailnet } = await session.call(method as typeof NetworkManager.method.pauseTailnet, { tailnetName, etag });
  if (tailnet !== undefined) session.show.answer(wireOf(TailnetSchema, tailnet), () => [`tailnet ${tailnetName} is ${state}`]);
  return undefined;
}
