import type { Command } from 'commander';
import { type Finding, lookAtAll } from '../doctor/check.ts';
import { EXIT } from '../exit-codes.ts';
import type { Run } from '../program.ts';
import { safeText } from '../safe-text.ts';
import type { Session } from '../session.ts';

export function addDoctor(program: Command, run: Run): void {
  program
    .command('doctor')
    .description('looks at everything that must be right, and says what to do; ends with 3 when something is wrong')
    .option('--strict', 'end with 3 for warnings too')
    .action(
      run<{ readonly strict?: boolean }>(async (session, _, { strict = false }) => {
        // Loaded here alone: --cluster brings much along.
        const { checksOf } = await import('../doctor/checks.ts');
        await using checks = await checksOf(session);
        const findings = await lookAtAll(checks.checks, session.signal);
        session.show.answer(
          { checks: findings.map(({ name, verdict, seen, todo }) => ({ name, verdict, seen, ...(todo === undefined ? {} : { todo }) })) },
          () => lines(session, findings),
        );
        const isBad = findings.some(({ verdict }) => verdict === 'fail' || (strict && verdict === 'warn'));
        return isBad ? EXIT.found : EXIT.ok;
      }),
    );
}

function lines({ show }: Session, findings: readonly Finding[]): readonly string[] {
  const count = (verdict: Finding['verdict']): number => findings.filter((finding) => finding.verdict === verdict).length;
  const nameWidth = Math.max(...findings.map(({ name }) => name.length));
  return [
    ...findings.flatMap(({ name, verdict, seen, todo }) => [
      `${show.paint(verdict)}${' '.repeat(7 - verdict.length)}   ${name.padEnd(nameWidth)}   ${safeText(seen)}`,
      ...(todo === undefined || verdict === 'ok' ? [] : [`${' '.repeat(nameWidth + 13)}-> ${safeText(todo)}`]),
    ]),
    '',
    `${count('ok')} ok, ${count('warn')} warnings, ${count('fail')} failures, ${count('skipped')} skipped`,
  ];
}
