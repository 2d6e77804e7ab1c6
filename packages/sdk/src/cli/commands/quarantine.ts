import { NetworkManager, type Sidecar, SidecarSchema } from '@bifrost/types/proto';
import type { Command } from 'commander';
import { tellDry } from '../dry-run.ts';
import type { Run } from '../program.ts';
import { countText } from '../quantities.ts';
import type { Session } from '../session.ts';
import { workloadText } from '../views.ts';
import { wireOf } from '../wire.ts';
import { requireSidecar } from './sidecar-named.ts';
import { DRY_RUN, ETAG } from './tailnet.ts';

interface ReadmitOptions {
  readonly etag?: string;
  readonly dryRun?: boolean;
}
interface QuarantineOptions extends ReadmitOptions {
  readonly reason?: string;
}

const SIDECAR = ['<sidecar>', 'its id, or namespace/name of its workload'] as const;

const show = (session: Session, sidecar: Sidecar | undefined, line: string): void => {
  if (sidecar !== undefined) session.show.answer(wireOf(SidecarSchema, sidecar), () => [line]);
};

async function quarantine(session: Session, [named = '']: readonly string[], options: QuarantineOptions): Promise<undefined> {
  const { reason = '', etag = '', dryRun = false } = options;
  const found = await requireSidecar(session, named);
  const { sidecarId, instances } = found;
  if (dryRun) {
    const isSo = found.quarantine !== undefined;
    const would = [
      `would cut sidecar ${sidecarId} of ${workloadText(found)} off from ${found.tailnetName}:`,
      '  its keys would be revoked, its devices deleted, and connections with them',
      `  ${countText(instances.length, 'pod')} would stay, with guards that let nothing out`,
    ];
    const lines = isSo ? [`would change nothing: sidecar ${sidecarId} is in quarantine already`] : would;
    tellDry(session, { would: isSo ? 'nothing' : 'quarantine', more: { sidecar_id: sidecarId }, lines });
    return;
  }
  const { sidecar } = await session.call(NetworkManager.method.quarantineSidecar, { sidecarId, reason, etag });
  const isSo = found.quarantine === undefined ? 'is in quarantine' : 'is in quarantine already, for the reason given first';
  show(session, sidecar, `sidecar ${sidecarId} ${isSo}; \`bifrost sidecar get ${sidecarId}\` says when no key and no device is left`);
}

async function readmit(session: Session, [named = '']: readonly string[], { etag = '', dryRun = false }: ReadmitOptions): Promise<undefined> {
  const found = await requireSidecar(session, named);
  const { sidecarId } = found;
  if (dryRun) {
    const isSo = found.quarantine === undefined;
    const line = isSo
      ? `would change nothing: sidecar ${sidecarId} is not in quarantine`
      : `would let sidecar ${sidecarId} into ${found.tailnetName} again`;
    tellDry(session, { would: isSo ? 'nothing' : 'readmit', more: { sidecar_id: sidecarId }, lines: [line] });
    return;
  }
  const { sidecar } = await session.call(NetworkManager.method.readmitSidecar, { sidecarId, etag });
  show(session, sidecar, `sidecar ${sidecarId} ${found.quarantine === undefined ? 'is not in quarantine' : 'may join again, as a new device'}`);
}

export function addQuarantine(program: Command, run: Run): void {
  program
    .command('quarantine')
    .description('cut a sidecar off from its tailnet at once, and keep its pods for evidence')
    .argument(...SIDECAR)
    .option('--reason <text>', 'for whoever reads it later; no secrets')
    .option(...ETAG)
    .option(...DRY_RUN)
    .action(run<QuarantineOptions>(quarantine));
  program
    .command('readmit')
    .description('end a quarantine')
    .argument(...SIDECAR)
    .option(...ETAG)
    .option(...DRY_RUN)
    .action(run<ReadmitOptions>(readmit));
}
