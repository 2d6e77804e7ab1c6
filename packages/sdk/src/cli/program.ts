import { Command, Option } from 'commander';
import type { Cli } from './cli.ts';
import { addCompletion } from './commands/completion.ts';
import { addDoctor } from './commands/doctor.ts';
import { addExplain } from './commands/explain.ts';
import { addFirewall } from './commands/firewall.ts';
import { addLeftovers } from './commands/leftovers.ts';
import { addMetrics } from './commands/metrics.ts';
import { addProve } from './commands/prove.ts';
import { addQuarantine } from './commands/quarantine.ts';
import { addReadOnly } from './commands/read-only.ts';
import { addSidecarCommands } from './commands/sidecar.ts';
import { addSimulate } from './commands/simulate.ts';
import { addStatus } from './commands/status.ts';
import { addTailnetCommands } from './commands/tailnet.ts';
import { addVersion } from './commands/version.ts';
import { addWatch } from './commands/watch.ts';
import type { GlobalOptions } from './connect.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { Session } from './session.ts';
import { FORMATS } from './show.ts';

/** What a command does; without a word it ends with 0. */
export type Work<Options> = (session: Session, args: readonly string[], options: Options) => Promise<ExitCode | undefined>;

/** Makes an action of what a command does. */
export type Run = <Options>(work: Work<Options>) => (...given: unknown[]) => Promise<void>;

const HELP = `
Exit codes: 0 done, 1 refused, 2 wrong usage, 3 something was found (prove, firewall, leftovers, doctor), 4 nobody answered in time, 130 interrupted.
A secret is never an argument: BIFROST_TOKEN or --token-file, BIFROST_API_KEY or --api-key-file.`;

function addGlobalOptions(program: Command): void {
  program
    .option('-s, --server <url>', 'the service (BIFROST_SERVER)')
    .option('--token-file <file>', 'bearer token (or BIFROST_TOKEN)')
    .option('--api-key-file <file>', 'API key (or BIFROST_API_KEY)')
    .option('--ca <file>', 'authority of the service’s certificate, PEM')
    .option('--cert <file>', 'client certificate, PEM')
    .option('--key <file>', 'its key, PEM')
    .option('--cluster', 'no service: the objects in the cluster, as kubectl finds it; a running manager does the rest')
    .option('--kubeconfig <file>', 'with --cluster: another kubeconfig')
    .option('--context <name>', 'with --cluster: another context of it')
    .option('--manager <namespace/name>', 'with --cluster: the manager’s Deployment, whose settings are used', 'bifrost/network-manager')
    .addOption(new Option('-o, --output <format>', 'how answers are written').choices(FORMATS).default('table'))
    .option('--request-timeout <time>', 'for one answer of the service', '30s');
}

/** The whole tree of commands. `ended` hears what a command ends with. */
export function programOf(cli: Cli, ended: (code: ExitCode) => void): Command {
  const program = new Command('bifrost')
    .description('Private networks for books: a tailnet per customer, sidecars on workloads, every connection watched.')
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void cli.stdout.write(text),
      writeErr: (text) => void cli.stderr.write(text),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .showSuggestionAfterError()
    .addHelpText('after', HELP);
  addGlobalOptions(program);
  const run: Run =
    <Options>(work: Work<Options>) =>
    async (...given) => {
      const command = given.pop() as Command;
      const options = given.pop() as Options;
      await using session = new Session(cli, command.optsWithGlobals<GlobalOptions>());
      ended((await work(session, given as readonly string[], options)) ?? EXIT.ok);
    };
  addStatus(program, run);
  addTailnetCommands(program, run);
  addSidecarCommands(program, run);
  for (const add of [
    addWatch,
    addMetrics,
    addExplain,
    addProve,
    addFirewall,
    addQuarantine,
    addLeftovers,
    addDoctor,
    addReadOnly,
    addSimulate,
    addVersion,
    addCompletion,
  ])
    add(program, run);
  return program;
}
