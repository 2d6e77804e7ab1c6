import { NetworkManager, NetworkModeSchema, Sidecar_Mode, SidecarSchema } from '@bifrost/types/proto';
import { changeOf } from '../changes.ts';
import { usage } from '../connect.ts';
import { tellDry, wouldBeRefused } from '../dry-run.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { countText } from '../quantities.ts';
import type { Session } from '../session.ts';
import { showPlan, sidecarStatus, workloadText } from '../views.ts';
import { waitUntil } from '../wait.ts';
import { numberOf, wireOf } from '../wire.ts';
import { standText } from './sidecar-attach.ts';
import { requireSidecar, sidecarOf } from './sidecar-named.ts';

export interface UpdateOptions {
  readonly advertise?: readonly string[];
  readonly acceptRoutes?: boolean;
  readonly ssh?: boolean;
  readonly mode?: string;
  readonly clear?: string;
  readonly allowRollout?: boolean;
  readonly etag?: string;
  readonly dryRun?: boolean;
}

export async function updateSidecar(session: Session, [named = '']: readonly string[], options: UpdateOptions): Promise<ExitCode | undefined> {
  const { advertise, acceptRoutes, ssh, mode, clear, allowRollout = false, etag = '' } = options;
  const members = {
    advertiseRoutes: advertise && [...advertise],
    acceptRoutes,
    enableSsh: ssh,
    networkMode: mode === undefined ? undefined : numberOf(NetworkModeSchema, mode),
  };
  const { config, paths } = changeOf(
    members as Partial<{ advertiseRoutes: string[]; acceptRoutes: boolean; enableSsh: boolean; networkMode: number }>,
    {
      cleared: clear === undefined ? [] : ['config.advertise_routes'],
    },
  );
  if (paths.length === 0) throw usage('Say what to change: --advertise, --accept-routes, --ssh, --mode, --clear.');
  const { sidecarId } = await requireSidecar(session, named);
  const change = { sidecarId, config, updateMask: { paths: [...paths] } };
  if (options.dryRun === true) {
    await showPlan(session, NetworkManager.method.planUpdateSidecar, change);
    return undefined;
  }
  const { sidecar } = await session.call(NetworkManager.method.updateSidecar, { ...change, allowRollout, etag });
  if (sidecar !== undefined)
    session.show.answer(wireOf(SidecarSchema, sidecar), () => [
      `sidecar ${sidecarId} is on trial with its new configuration (${sidecarStatus(sidecar)})`,
    ]);
  return undefined;
}

export interface RepairOptions {
  readonly etag?: string;
  readonly dryRun?: boolean;
}

export async function repairSidecar(
  session: Session,
  [named = '']: readonly string[],
  { etag = '', dryRun = false }: RepairOptions,
): Promise<ExitCode | undefined> {
  const found = await requireSidecar(session, named);
  const { sidecarId } = found;
  if (dryRun) {
    if (found.mode === Sidecar_Mode.inject) throw wouldBeRefused('OWNED_BY_CREATOR', 'It was injected: its creator owns those fields.', 'sidecarId');
    const isDrifted = found.reason?.code === 'DRIFT_REPEATED';
    const line = isDrifted
      ? `would put right once more what differs in ${workloadText(found)}`
      : `would look at ${workloadText(found)} again; no drift is told of it`;
    tellDry(session, { would: isDrifted ? 'repair' : 'nothing', lines: [line] });
    return undefined;
  }
  const { sidecar } = await session.call(NetworkManager.method.repairSidecar, { sidecarId, etag });
  if (sidecar !== undefined) session.show.answer(wireOf(SidecarSchema, sidecar), () => [`sidecar ${sidecarId} is being put right`]);
  return undefined;
}

export interface DetachOptions {
  readonly abandon?: boolean;
  readonly etag?: string;
  readonly wait?: boolean;
  readonly timeout: string;
  readonly dryRun?: boolean;
}

export async function detachSidecar(session: Session, [named = '']: readonly string[], options: DetachOptions): Promise<ExitCode | undefined> {
  const { abandon = false, etag = '' } = options;
  const found = await requireSidecar(session, named);
  const { sidecarId } = found;
  if (options.dryRun === true) {
    const { instances } = found;
    tellDry(session, {
      would: 'detach',
      more: { sidecar_id: sidecarId, pods: instances.map(({ podName }) => podName) },
      lines: [
        `would detach sidecar ${sidecarId} from ${workloadText(found)}:`,
        `  ${countText(instances.length, 'pod')} would be replaced, without a sidecar`,
        '  its keys would be revoked, its devices deleted, its Secret removed',
        ...(found.mode === Sidecar_Mode.inject ? ['  it was injected: it is refused while its workload is there'] : []),
      ],
    });
    return EXIT.ok;
  }
  const method = NetworkManager.method.detachSidecar;
  const answer = await session.call(method, { sidecarId, abandon, etag });
  if (options.wait === true) {
    const look = async () => {
      const sidecar = await sidecarOf(session, sidecarId);
      return sidecar === undefined ? { text: 'gone', done: { value: true } } : { text: standText(sidecar) };
    };
    await waitUntil(session, { what: `sidecar ${sidecarId}`, timeout: options.timeout, look });
  }
  session.show.answer(wireOf(method.output, answer), () => [`sidecar ${sidecarId} is ${options.wait === true ? 'gone' : 'being detached'}`]);
  return undefined;
}
