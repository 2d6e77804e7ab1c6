import { type Cidr, parseCidr } from '@bifrost/types/core';
import { isRecord, lowered, type PolicyFile, rangeOf, readPolicyFile, type Selector, selectorsOf, textsOf, UNKNOWN } from './judge-policy.ts';

/** Who may give a tag to devices. */
export interface JudgedOwners {
  readonly name: string;
  readonly tag: string;
  /** Undefined: written in a way that is not known here. */
  readonly owners: readonly string[] | undefined;
}

/** Whose routes into a range are approved by themselves. */
export interface JudgedApprovers {
  readonly name: string;
  /** All there are where it cannot be read. */
  readonly ranges: readonly Cidr[];
  readonly who: readonly Selector[];
}

/** Who may open a shell where. */
export interface JudgedShell {
  readonly name: string;
  readonly src: readonly Selector[];
  readonly dst: readonly Selector[];
}

/** What of a policy lets no packet pass, and still says who is who. */
export interface JudgedSections {
  readonly owners: readonly JudgedOwners[];
  readonly approvers: readonly JudgedApprovers[];
  readonly shells: readonly JudgedShell[];
}

const EVERYWHERE: readonly Cidr[] = ['0.0.0.0/0', '::/0'].flatMap((text) => parseCidr(text) ?? []);
const entriesOf = (value: unknown): readonly (readonly [string, unknown])[] => (isRecord(value) ? Object.entries(value) : []);

function ownersOf([tag, value]: readonly [string, unknown]): JudgedOwners {
  const owners = Array.isArray(value) && value.every((owner) => typeof owner === 'string') ? value : undefined;
  return { name: `tagOwners.${tag}`, tag, owners };
}

function approversOf([route, value]: readonly [string, unknown], file: PolicyFile): JudgedApprovers {
  const range = rangeOf(route);
  const who = Array.isArray(value) ? textsOf(value).flatMap((text) => selectorsOf(text, file)) : [UNKNOWN];
  return { name: `autoApprovers.routes.${route}`, ranges: range === undefined ? EVERYWHERE : [range], who };
}

function shellsOf(rule: unknown, index: number, file: PolicyFile): readonly JudgedShell[] {
  if (!isRecord(rule)) return [];
  const { src, dst } = lowered(rule);
  const selectors = (value: unknown): readonly Selector[] => textsOf(value).flatMap((text) => selectorsOf(text, file));
  return [{ name: `ssh.${index}`, src: selectors(src), dst: selectors(dst) }];
}

/** Undefined: the policy cannot be read, and nothing may be concluded from it. */
export function readSections(text: string): JudgedSections | undefined {
  const file = readPolicyFile(text);
  if (file === undefined) return undefined;
  const { tagowners, autoapprovers, ssh } = file;
  const { routes } = isRecord(autoapprovers) ? lowered(autoapprovers) : {};
  return {
    owners: entriesOf(tagowners).map(ownersOf),
    approvers: entriesOf(routes).map((entry) => approversOf(entry, file)),
    shells: Array.isArray(ssh) ? ssh.flatMap((rule, index) => shellsOf(rule, index, file)) : [],
  };
}
