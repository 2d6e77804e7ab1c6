import { NetworkManager, TailnetSchema } from '@bifrost/types/proto';
import type { ExitCode } from '../exit-codes.ts';
import { durationMs } from '../quantities.ts';
import type { Session } from '../session.ts';
import { showPlan, upgradeText } from '../views.ts';
import { waitUntil } from '../wait.ts';
import { wireOf } from '../wire.ts';

export interface UpgradeOptions {
  readonly waveSize?: number;
  readonly trial?: string;
  readonly etag?: string;
  readonly wait?: boolean;
  readonly timeout: string;
  readonly dryRun?: boolean;
}

export async function upgradeSidecars(
  session: Session,
  [tailnetName = '']: readonly string[],
  options: UpgradeOptions,
): Promise<ExitCode | undefined> {
  const { waveSize, trial, etag = '' } = options;
  const request = {
    tailnetName,
    ...(waveSize === undefined ? {} : { waveSize }),
    ...(trial === undefined ? {} : { trialMs: durationMs(trial, '--trial') }),
  };
  if (options.dryRun === true) {
    await showPlan(session, NetworkManager.method.planUpgradeSidecars, request);
    return undefined;
  }
  const method = NetworkManager.method.upgradeSidecars;
  const answer = await session.call(method, { ...request, etag });
  const { upgrade } = answer;
  if (options.wait !== true || upgrade === undefined) {
    session.show.answer(wireOf(method.output, answer), () => [
      upgrade === undefined ? 'nothing to upgrade' : `upgrade ${upgrade.upgradeId}: ${upgradeText(upgrade)}`,
    ]);
    return undefined;
  }
  const { upgradeId } = upgrade;
  const finished = await waitUntil(session, {
    what: `upgrade of ${tailnetName}`,
    timeout: options.timeout,
    look: async () => {
      const { tailnet } = await session.call(NetworkManager.method.getTailnet, { tailnetName });
      const now = tailnet?.upgrade;
      if (tailnet === undefined || now === undefined || now.upgradeId !== upgradeId)
        return { text: 'another', failed: 'another upgrade was asked for meanwhile' };
      const text = upgradeText(now);
      if (now.haltedBy !== undefined) return { text, failed: text };
      return now.finished ? { text, done: { value: tailnet } } : { text };
    },
  });
  session.show.answer(wireOf(TailnetSchema, finished), () => [`all sidecars of ${tailnetName} run what is rendered now`]);
  return undefined;
}
