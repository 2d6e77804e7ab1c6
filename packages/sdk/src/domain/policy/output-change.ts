import type { NetworkConfiguration, OutputChange } from '@bifrost/types/core';
import { liveGuardRules } from '../guard.ts';
import type { PolicySections } from './compile-policy.ts';

const entriesOf = ({ tagOwners, autoApprovers, ...lists }: PolicySections): readonly string[] => [
  ...Object.entries({ tagOwners, 'autoApprovers.routes': autoApprovers.routes }).flatMap(([section, entries]) =>
    Object.entries(entries).map(([name, who]) => `${section} ${JSON.stringify({ [name]: who })}`),
  ),
  ...Object.entries(lists).flatMap(([section, entries]) => entries.map((entry) => `${section} ${JSON.stringify(entry)}`)),
];

const rulesOf = (config: NetworkConfiguration): readonly string[] =>
  liveGuardRules(config).map(({ preference, selector, action }) => `${preference} ${selector} ${action}`);

/** Undefined where nothing changes. */
function change(output: OutputChange['output'], before: readonly string[], after: readonly string[]): OutputChange | undefined {
  const [from, to] = [new Set(before), new Set(after)];
  const [added, removed] = [[...to.difference(from)].sort(), [...from.difference(to)].sort()];
  return added.length + removed.length === 0 ? undefined : { output, added, removed };
}

/** What would be written to a tailnet's policy: entries of ours that come, and that go. */
export const policyChange = (before: PolicySections, after: PolicySections): OutputChange | undefined =>
  change('tailnet-policy', entriesOf(before), entriesOf(after));

/** What the guards of a tailnet's sidecars would be told. */
export const guardChange = (before: NetworkConfiguration, after: NetworkConfiguration): OutputChange | undefined =>
  change('guard', rulesOf(before), rulesOf(after));
