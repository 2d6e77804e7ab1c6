import { once } from 'node:events';
import type { Command } from 'commander';
import { usage } from '../connect.ts';
import { EXIT } from '../exit-codes.ts';
import { wholeNumber } from '../input.ts';
import type { Run } from '../program.ts';
import { durationMs } from '../quantities.ts';

export function addSimulate(program: Command, run: Run): void {
  program
    .command('simulate')
    .description('a whole simulated world with its network API on loopback, to try calls without a cluster; until interrupted')
    .option('--port <port>', 'where it listens; 0: any', wholeNumber, 0)
    .option('--disturb <time>', 'so often each link is lost for some seconds: something to watch')
    .action(
      run<{ readonly port: number; readonly disturb?: string }>(async ({ cli, show, signal }, _, { port, disturb }) => {
        if (port > 65_535) throw usage('--port takes a number up to 65535.', '--port');
        const disturbMs = disturb === undefined ? 0 : durationMs(disturb, '--disturb');
        // Loaded here alone: nobody else needs the simulators.
        const { openSimulatedWorld, CUSTOMERS, BOOKS } = await import('../simulate/world.ts');
        await using world = await openSimulatedWorld({ port, disturbMs, clock: cli.clock, signal });
        const [customer] = CUSTOMERS;
        const [book] = BOOKS;
        show.answer(
          { server: world.address, customers: [...CUSTOMERS], books: CUSTOMERS.flatMap((id) => BOOKS.map((name) => `${id}/${name}`)) },
          () => [
            `the network API of a simulated world: ${world.address} (gRPC, Connect, REST)`,
            `customers: ${CUSTOMERS.join(', ')}; each has the books ${BOOKS.join(', ')}`,
            '',
            'in another terminal:',
            `  export BIFROST_SERVER=${world.address}`,
            `  bifrost tailnet create ${customer}-production --customer ${customer} --allow 10.0.0.0/8 --wait`,
            `  bifrost sidecar attach ${customer}/${book} --tailnet ${customer}-production --hostname support --accept-routes --wait`,
            '  bifrost status',
            `  curl ${world.address}/api/v1/networks/tailnets`,
            '',
            'Ctrl-C ends it; nothing is kept.',
          ],
        );
        if (!signal.aborted) await once(signal, 'abort');
        return EXIT.ok;
      }),
    );
}
