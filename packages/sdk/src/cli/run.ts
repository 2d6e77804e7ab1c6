import { CommanderError } from 'commander';
import type { Cli } from './cli.ts';
import { complete } from './complete.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { tellFailure } from './failure.ts';
import { programOf } from './program.ts';

/** One run of the command, in whatever process: says what it ends with, and owns nothing afterwards. */
export async function runCli(argv: readonly string[], cli: Cli): Promise<ExitCode> {
  let code: ExitCode = EXIT.ok;
  const program = programOf(cli, (ended) => {
    code = ended;
  });
  if (argv[0] === '__complete') {
    for (const word of await complete(program, argv.slice(1), cli)) cli.stdout.write(`${word}\n`);
    return EXIT.ok;
  }
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (cli.signal.aborted) {
      cli.stderr.write('interrupted\n');
      return EXIT.interrupted;
    }
    return tellFailure(cli, error);
  }
}
