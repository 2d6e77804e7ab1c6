import { NetworkManager } from '@bifrost/types/proto';
import type { Command } from 'commander';
import { usage } from '../connect.ts';
import type { Run } from '../program.ts';
import { wireOf } from '../wire.ts';
import { metricCells } from './status.ts';

export function addMetrics(program: Command, run: Run): void {
  program
    .command('metrics')
    .description('bytes, latency and last activity, per tailnet')
    .argument('[tailnet]')
    .option('--customer <id>', 'only this customer’s')
    .action(
      run<{ readonly customer?: string }>(async (session, [tailnetName = ''], { customer: customerId = '' }) => {
        if (!(await session.connection()).isLive)
          throw usage('Metrics are in the memory of the running manager alone: ask it with --server.', '--cluster');
        const method = NetworkManager.method.getConnectionMetrics;
        const answer = await session.call(method, { tailnetName, customerId });
        session.show.answer(wireOf(method.output, answer), () =>
          session.show.table({
            head: ['TAILNET', 'CONNECTED', 'SENT', 'RECEIVED', 'LATENCY', 'LAST ACTIVITY'],
            rows: answer.metrics.map((metric) => [metric.tailnetName, metric.isConnected ? 'yes' : 'no', ...metricCells(session, metric)]),
          }),
        );
        return undefined;
      }),
    );
}
