import { Argument, type Command } from 'commander';
import type { Run } from '../program.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** Each script asks the command itself, so it is as new as the command, and knows names that only the service knows. */
const SCRIPTS: Readonly<Record<(typeof SHELLS)[number], readonly string[]>> = {
  bash: [
    '# bifrost completion bash > /etc/bash_completion.d/bifrost, or: source <(bifrost completion bash)',
    '_bifrost() {',
    "  local IFS=$'\\n'",
    '  COMPREPLY=($(bifrost __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2> /dev/null))',
    '}',
    'complete -o default -F _bifrost bifrost',
  ],
  zsh: [
    '#compdef bifrost',
    '# bifrost completion zsh > "${fpath[1]}/_bifrost", or: source <(bifrost completion zsh)',
    '_bifrost() {',
    '  local -a found',
    '  found=(${(f)"$(bifrost __complete "${(@)words[2,CURRENT]}" 2> /dev/null)"})',
    '  if (( $#found )); then compadd -- $found; else _files; fi',
    '}',
    'if [ "$funcstack[1]" = "_bifrost" ]; then _bifrost; else compdef _bifrost bifrost; fi',
  ],
  fish: [
    '# bifrost completion fish > ~/.config/fish/completions/bifrost.fish',
    "complete -c bifrost -f -a '(bifrost __complete (commandline -opc)[2..] (commandline -ct) 2> /dev/null)'",
  ],
};

export function addCompletion(program: Command, run: Run): void {
  program
    .command('completion')
    .description('a script for your shell, which completes commands, options, and names of tailnets and sidecars')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .action(
      run(async ({ show }, [shell]) => {
        show.lines(SCRIPTS[shell as (typeof SHELLS)[number]]);
        return undefined;
      }),
    );
}
