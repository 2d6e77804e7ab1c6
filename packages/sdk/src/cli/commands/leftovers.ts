import { NetworkManager } from '@bifrost/types/proto';
import type { Command } from 'commander';
import { EXIT } from '../exit-codes.ts';
import type { Run } from '../program.ts';
import { wireOf } from '../wire.ts';

export function addLeftovers(program: Command, run: Run): void {
  program
    .command('leftovers')
    .description('what was made outside and has no owner any more; ends with 3 when there is any')
    .action(
      run(async (session) => {
        const method = NetworkManager.method.listLeftovers;
        const answer = await session.call(method, {});
        const { leftovers } = answer;
        session.show.answer(wireOf(method.output, answer), () =>
          leftovers.length === 0
            ? ['nothing is left over']
            : session.show.table({ head: ['KIND', 'ID', 'PLACE'], rows: leftovers.map(({ kind, id, place }) => [kind, id, place]) }),
        );
        return leftovers.length === 0 ? EXIT.ok : EXIT.found;
      }),
    );
}
