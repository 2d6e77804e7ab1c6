import { NetworkManager } from '@bifrost/types/proto';
import type { Command } from 'commander';
import { VERSION } from '../../server/api/version.ts';
import type { Run } from '../program.ts';
import { wireOf } from '../wire.ts';

export function addVersion(program: Command, run: Run): void {
  program
    .command('version')
    .description('this command’s version, and that of the service if one is named')
    .action(
      run(async (session) => {
        const { cli, options, show } = session;
        const isNamed = options.cluster === true || Boolean(options.server ?? cli.env['BIFROST_SERVER']);
        const method = NetworkManager.method.getServiceInfo;
        // With --cluster this very package would answer.
        const info = isNamed && options.cluster !== true ? await session.call(method, {}) : undefined;
        const json = { client: VERSION, ...(info === undefined ? {} : { service: wireOf(method.output, info) }) };
        show.answer(json, () => [`client   ${VERSION}`, ...(info === undefined ? [] : show.table({ head: ['service', info.version], rows: [] }))]);
        return undefined;
      }),
    );
}
