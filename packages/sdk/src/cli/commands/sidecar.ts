import { NetworkModeSchema, Sidecar_StatusSchema, SidecarSchema } from '@bifrost/types/proto';
import { type Command, Option } from 'commander';
import { collect, wholeNumber } from '../input.ts';
import { allSidecars } from '../lists.ts';
import type { Run } from '../program.ts';
import { sidecarLines, sidecarTable } from '../views.ts';
import { numberOf, wireOf, wordsOf } from '../wire.ts';
import { type AttachOptions, attachSidecar } from './sidecar-attach.ts';
import { type DetachOptions, detachSidecar, type RepairOptions, repairSidecar, type UpdateOptions, updateSidecar } from './sidecar-change.ts';
import { type InjectOptions, injectSidecar } from './sidecar-inject.ts';
import { requireSidecar } from './sidecar-named.ts';
import { type UpgradeOptions, upgradeSidecars } from './sidecar-upgrade.ts';
import { DRY_RUN, ETAG, TIMEOUT, WAIT } from './tailnet.ts';

const SIDECAR = ['<sidecar>', 'its id, or namespace/name of its workload'] as const;
const mode = (): Option => new Option('--mode <mode>', 'which form').choices(wordsOf(NetworkModeSchema));

export function addSidecarCommands(program: Command, run: Run): void {
  const sidecar = program.command('sidecar').description('sidecars on workloads');
  addAttach(sidecar, run);
  addReads(sidecar, run);
  addChanges(sidecar, run);
  addUpgrade(sidecar, run);
  addInject(sidecar, run);
}

const wishes = (command: Command): Command =>
  command
    .requiredOption('--tailnet <tailnet>', 'which network')
    .requiredOption('--hostname <label>', 'its name in the tailnet')
    .option('--advertise <cidr>', 'networks that it offers to the tailnet; several with commas', collect)
    .option('--accept-routes', 'use the routes that the customer’s routers offer')
    .option('--ssh', 'let the customer’s administrators in by Tailscale SSH')
    .addOption(mode());

function addAttach(sidecar: Command, run: Run): void {
  const book = ['<book>', 'its book-deployment id, uid, or namespace/name'] as const;
  wishes(
    sidecar
      .command('attach')
      .description('attach a book to a tailnet')
      .argument(...book),
  )
    .option(...WAIT)
    .option(...TIMEOUT)
    .option(...DRY_RUN)
    .action(run<AttachOptions>(attachSidecar));
  wishes(
    sidecar
      .command('plan')
      .description('what attach would apply, with the same checks')
      .argument(...book),
  ).action(run<AttachOptions>((session, args, options) => attachSidecar(session, args, { ...options, dryRun: true })));
}

function addReads(sidecar: Command, run: Run): void {
  sidecar
    .command('get')
    .description('one sidecar')
    .argument(...SIDECAR)
    .action(
      run(async (session, [named = '']) => {
        const found = await requireSidecar(session, named);
        session.show.answer(wireOf(SidecarSchema, found), () => sidecarLines(session, found));
        return undefined;
      }),
    );
  sidecar
    .command('list')
    .description('the sidecars that you may see')
    .option('--tailnet <tailnet>')
    .option('--customer <id>')
    .option('--book <id>')
    .addOption(new Option('--status <status>').choices(wordsOf(Sidecar_StatusSchema)))
    .action(
      run<{ readonly tailnet?: string; readonly customer?: string; readonly book?: string; readonly status?: string }>(
        async (session, _, options) => {
          const { tailnet: tailnetName = '', customer: customerId = '', book: bookDeploymentId = '' } = options;
          const sidecars = await allSidecars(session, {
            tailnetName,
            customerId,
            bookDeploymentId,
            status: numberOf(Sidecar_StatusSchema, options.status),
          });
          session.show.answer({ sidecars: sidecars.map((found) => wireOf(SidecarSchema, found)) }, () =>
            sidecars.length === 0 ? ['no sidecars'] : session.show.table(sidecarTable(session, sidecars)),
          );
          return undefined;
        },
      ),
    );
}

function addChanges(sidecar: Command, run: Run): void {
  sidecar
    .command('update')
    .description('change what is given; the rest stays')
    .argument(...SIDECAR)
    .option('--advertise <cidr>', 'instead of those before; several with commas', collect)
    .option('--accept-routes')
    .option('--no-accept-routes')
    .option('--ssh')
    .option('--no-ssh')
    .addOption(mode())
    .addOption(new Option('--clear <member>', 'make it empty').choices(['advertise']))
    .option('--allow-rollout', 'pods may be replaced for it')
    .option(...ETAG)
    .option(...DRY_RUN)
    .action(run<UpdateOptions>(updateSidecar));
  sidecar
    .command('repair')
    .description('put right once more what somebody else keeps changing')
    .argument(...SIDECAR)
    .option(...ETAG)
    .option(...DRY_RUN)
    .action(run<RepairOptions>(repairSidecar));
  sidecar
    .command('detach')
    .description('take it away with all that was made for it')
    .argument(...SIDECAR)
    .option('--abandon', 'leave what cannot be taken away, and record it')
    .option(...ETAG)
    .option(...WAIT)
    .option(...TIMEOUT)
    .option(...DRY_RUN)
    .action(run<DetachOptions>(detachSidecar));
}

function addUpgrade(sidecar: Command, run: Run): void {
  sidecar
    .command('upgrade')
    .description('put all sidecars of a tailnet on what is rendered now, in waves')
    .argument('<tailnet>')
    .option('--wave-size <count>', 'sidecars on trial at once', wholeNumber)
    .option('--trial <time>', 'for all pods of one sidecar to connect')
    .option(...ETAG)
    .option(...WAIT)
    .option('--timeout <time>', 'longest time to wait', '1h')
    .option(...DRY_RUN)
    .action(run<UpgradeOptions>(upgradeSidecars));
}

function addInject(sidecar: Command, run: Run): void {
  wishes(
    sidecar
      .command('inject')
      .description('put a sidecar into a manifest, and register it: for Jobs, CronJobs, and workloads that are yet to be created'),
  )
    .requiredOption('-f, --filename <file>', 'the manifest, YAML or JSON; - is stdin')
    .option('--book <id>', 'the id that callers know the book by')
    .option(...DRY_RUN)
    .action(run<InjectOptions>(injectSidecar));
}
