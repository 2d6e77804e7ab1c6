import { AccessPolicySchema, NetworkManager, Tailnet_StatusSchema, Tailnet_TenancySchema, TailnetSchema } from '@bifrost/types/proto';
import { type Command, Option } from 'commander';
import { collect } from '../input.ts';
import { allTailnets } from '../lists.ts';
import type { Run } from '../program.ts';
import { tailnetLines, tailnetTable } from '../views.ts';
import { numberOf, wireOf, wordsOf } from '../wire.ts';
import { type DeleteOptions, deleteTailnet, type PauseOptions, pauseTailnet, type UpdateOptions, updateTailnet } from './tailnet-change.ts';
import { type CreateOptions, createTailnet } from './tailnet-create.ts';

export const DRY_RUN = ['--dry-run', 'say what would happen; change nothing'] as const;
export const WAIT = ['--wait', 'until it is done, with progress on stderr'] as const;
export const TIMEOUT = ['--timeout <time>', 'longest time to wait', '5m'] as const;
export const ETAG = ['--etag <etag>', 'only if it still has this one'] as const;
const policy = (): Option => new Option('--policy <policy>', 'how far books may go').choices(wordsOf(AccessPolicySchema));

export function addTailnetCommands(program: Command, run: Run): void {
  const tailnet = program.command('tailnet').description('customers’ private networks');
  addCreate(tailnet, run);
  addReads(tailnet, run);
  addUpdate(tailnet, run);
  addDelete(tailnet, run);
  for (const paused of [true, false]) addPause(tailnet, run, paused);
}

function addCreate(tailnet: Command, run: Run): void {
  tailnet
    .command('create')
    .description('ask for a customer’s tailnet')
    .argument('<tailnet>', 'one DNS label, unique in the installation')
    .requiredOption('--customer <id>', 'whose it is')
    .requiredOption('--allow <cidr>', 'networks that books may reach; several with commas', collect)
    .option('--block <cidr>', 'networks that books may never reach', collect)
    .addOption(policy())
    .option('--logging', 'log network access')
    .option('--tag <tag>', 'several with commas', collect)
    .addOption(new Option('--tenancy <tenancy>', 'who owns it').choices(wordsOf(Tailnet_TenancySchema)))
    .option('--credential-secret <name>', 'customer-owned: the Secret with its OAuth client')
    .option('--manage-policy', 'customer-owned: keep entries in its policy')
    .option(...WAIT)
    .option(...TIMEOUT)
    .option(...DRY_RUN)
    .action(run<CreateOptions>(createTailnet));
}

function addReads(tailnet: Command, run: Run): void {
  tailnet
    .command('get')
    .description('one tailnet')
    .argument('<tailnet>')
    .action(
      run(async (session, [tailnetName = '']) => {
        const { tailnet: found } = await session.call(NetworkManager.method.getTailnet, { tailnetName });
        if (found !== undefined) session.show.answer(wireOf(TailnetSchema, found), () => tailnetLines(session, found));
        return undefined;
      }),
    );
  tailnet
    .command('list')
    .description('the tailnets that you may see')
    .option('--customer <id>')
    .option('--tag <tag>')
    .addOption(new Option('--status <status>').choices(wordsOf(Tailnet_StatusSchema)))
    .action(
      run<{ readonly customer?: string; readonly tag?: string; readonly status?: string }>(
        async (session, _, { customer: customerId = '', tag = '', status }) => {
          const tailnets = await allTailnets(session, { customerId, tag, status: numberOf(Tailnet_StatusSchema, status) });
          session.show.answer({ tailnets: tailnets.map((found) => wireOf(TailnetSchema, found)) }, () =>
            tailnets.length === 0 ? ['no tailnets'] : session.show.table(tailnetTable(session, tailnets)),
          );
          return undefined;
        },
      ),
    );
}

function addUpdate(tailnet: Command, run: Run): void {
  tailnet
    .command('update')
    .description('change what is given; the rest stays')
    .argument('<tailnet>')
    .option('--allow <cidr>', 'instead of those before; several with commas', collect)
    .option('--block <cidr>', 'instead of those before', collect)
    .addOption(policy())
    .option('--logging')
    .option('--no-logging')
    .option('--tag <tag>', 'instead of those before', collect)
    .option('--manage-policy', 'customer-owned: keep entries in its policy')
    .option('--no-manage-policy', 'take them out again')
    .addOption(new Option('--clear <member>', 'make it empty').choices(['allow', 'block', 'tag']).argParser(collect))
    .option('--allow-rollout', 'pods may be replaced for it')
    .option('--confirm', 'most of the peers in use may be lost')
    .option(...ETAG)
    .option(...DRY_RUN)
    .action(run<UpdateOptions>(updateTailnet));
}

function addDelete(tailnet: Command, run: Run): void {
  tailnet
    .command('delete')
    .description('delete a tailnet')
    .argument('<tailnet>')
    .option('--cascade', 'detach its sidecars first')
    .option('--abandon', 'leave what cannot be taken away, and record it')
    .option(...ETAG)
    .option(...WAIT)
    .option(...TIMEOUT)
    .option(...DRY_RUN)
    .action(run<DeleteOptions>(deleteTailnet));
}

function addPause(tailnet: Command, run: Run, paused: boolean): void {
  tailnet
    .command(paused ? 'pause' : 'resume')
    .description(paused ? 'change nothing outside for it until it is resumed' : 'end a pause')
    .argument('<tailnet>')
    .option(...ETAG)
    .option(...DRY_RUN)
    .action(run<PauseOptions>((session, [tailnetName = ''], options) => pauseTailnet(session, { tailnetName, paused }, options)));
}
