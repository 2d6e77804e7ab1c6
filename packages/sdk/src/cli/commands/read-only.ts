import { NetworkManager } from '@bifrost/types/proto';
import { Argument, type Command } from 'commander';
import { usage } from '../connect.ts';
import { tellDry } from '../dry-run.ts';
import type { Run } from '../program.ts';
import { wireOf } from '../wire.ts';
import { DRY_RUN } from './tailnet.ts';

export function addReadOnly(program: Command, run: Run): void {
  program
    .command('read-only')
    .description('whether the manager changes anything at all; without a word, how it stands')
    .addArgument(new Argument('[state]').choices(['on', 'off']))
    .option(...DRY_RUN)
    .action(
      run<{ readonly dryRun?: boolean }>(async (session, [state], { dryRun = false }) => {
        if (!(await session.connection()).isLive) throw usage('This is a matter of the running manager: tell it with --server.', '--cluster');
        const method = NetworkManager.method.setReadOnly;
        const { readOnly } = await session.call(NetworkManager.method.getServiceInfo, {});
        const wanted = state === 'on';
        if (state === undefined) {
          session.show.answer({ read_only: readOnly }, () => [readOnly ? 'on' : 'off']);
        } else if (dryRun) {
          const would = readOnly === wanted ? 'nothing' : `turn ${state}`;
          tellDry(session, {
            would,
            lines: [readOnly === wanted ? `would change nothing: it is ${state} already` : `would turn read-only mode ${state}`],
          });
        } else {
          const answer = await session.call(method, { readOnly: wanted });
          session.show.answer(wireOf(method.output, answer), () => [`read-only mode is ${answer.readOnly ? 'on' : 'off'}`]);
        }
        return undefined;
      }),
    );
}
