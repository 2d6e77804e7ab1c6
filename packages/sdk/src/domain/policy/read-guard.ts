import type { Action, GuardRule } from '../guard.ts';
import { CONTAINERS } from '../names.ts';
import type { SidecarFragment } from '../pod-shape.ts';

const RULE = /^add ([46]) (\d{1,5}) (from all|to \S+|fwmark \S+) (lookup main|lookup 52|prohibit)$/;

/** The guard's rules as a fragment carries them: read out of the program that runs in its pods, not compiled again. Empty in userspace mode. */
export function guardRulesIn({ initContainers }: Pick<SidecarFragment, 'initContainers'>): readonly GuardRule[] {
  const command = initContainers.find(({ name }) => name === CONTAINERS.guard)?.['command'];
  const program = Array.isArray(command) ? String(command.at(-1)) : '';
  return program.split('\n').flatMap((line): readonly GuardRule[] => {
    const [, family, preference, selector, action] = RULE.exec(line) ?? [];
    if (selector === undefined) return [];
    return [{ family: family === '4' ? 4 : 6, preference: Number(preference), selector, action: action as Action }];
  });
}
