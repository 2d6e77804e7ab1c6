import { type Cidr, type IpAddress, parseCidr } from '@bifrost/types/core';
import { RangeTable } from './address-points.ts';

/** A rule of policy routing, as it was read back: `5110 to 10.0.0.0/8 lookup 52`, of one family. */
export interface ReadRule {
  readonly family: 4 | 6;
  readonly preference: number;
  /** `from all`, `to CIDR`, `fwmark MARK`. */
  readonly selector: string;
  /** `lookup main`, `lookup 52`, `prohibit`. */
  readonly action: string;
}

/** What an agent was told to hand to its guard: it takes the place of the rules from preference 5100 on. */
export interface ReadOrder {
  readonly allowedNetworks: readonly string[];
  readonly blockedNetworks: readonly string[];
  /** `quarantine`: nothing passes. */
  readonly accessPolicy: string;
}

/** Where a packet of the book goes. `clear`: by the pod's own network, outside of the tunnel. */
export interface GuardVerdict {
  readonly goes: 'tailnet' | 'clear' | 'denied';
  /** The rule that decides; undefined: none speaks of it. */
  readonly by: ReadRule | undefined;
}

export const ruleText = ({ preference, selector, action }: ReadRule): string => `${preference} ${selector} ${action}`;

const LINE = /^([46]) (\d{1,5}) (from all|to \S+|fwmark \S+) (lookup main|lookup 52|prohibit)$/;

/** As it stands in evidence: with its family in front. */
export const ruleLine = (rule: ReadRule): string => `${rule.family} ${ruleText(rule)}`;

/** What is no such line is none. */
export const rulesOfLines = (lines: readonly string[]): readonly ReadRule[] =>
  lines.flatMap((line) => {
    const [, family, preference, selector, action] = LINE.exec(line) ?? [];
    if (selector === undefined || action === undefined) return [];
    return [{ family: family === '4' ? 4 : 6, preference: Number(preference), selector, action } as const];
  });

/** The first preference that an order changes: what lies below comes from the pod's template alone. */
const FIRST_OF_ORDERS = 5100;
/** Addresses of devices: always meant for the tunnel. The judges' own, apart from what renders guards. */
export const DEVICE_NETWORKS = ['100.64.0.0/10', 'fd7a:115c:a1e0::/48'] as const;

const familyOf = (network: string): 4 | 6 => (network.includes(':') ? 6 : 4);

/** What a guard makes of an order, by ARCHITECTURE.md's table of preferences: written for the judge alone, so that it can disagree with what renders guards. */
export function rulesOfOrder({ allowedNetworks, blockedNetworks, accessPolicy }: ReadOrder): readonly ReadRule[] {
  const rule = (preference: number, network: string, action: string): ReadRule => ({
    ...{ family: familyOf(network), preference, selector: `to ${network}`, action },
  });
  const both = (preference: number, action: string): readonly ReadRule[] =>
    ([4, 6] as const).map((family) => ({ family, preference, selector: 'from all', action }));
  if (accessPolicy === 'quarantine') return both(5105, 'prohibit');
  const meant = [...allowedNetworks, ...DEVICE_NETWORKS];
  return [
    ...blockedNetworks.map((network) => rule(5100, network, 'prohibit')),
    ...meant.map((network) => rule(5110, network, 'lookup 52')),
    ...meant.map((network) => rule(5120, network, 'prohibit')),
    ...(accessPolicy === 'permissive' ? [] : both(5130, 'lookup main')),
  ];
}

/** The rules of a template whose guard holds an order. */
export const withOrder = (rules: readonly ReadRule[], order: ReadOrder): readonly ReadRule[] => [
  ...rules.filter(({ preference }) => preference < FIRST_OF_ORDERS),
  ...rulesOfOrder(order),
];

/** A chain of rules, to be asked for many packets. */
export class JudgedGuard {
  readonly #ranged: RangeTable<ReadRule>;
  readonly #general: readonly ReadRule[];

  constructor(rules: readonly ReadRule[]) {
    const ranged: (readonly [Cidr, ReadRule])[] = [];
    const general: ReadRule[] = [];
    for (const rule of rules) {
      const range = rule.selector.startsWith('to ') ? parseCidr(rule.selector.slice(3)) : undefined;
      if (range !== undefined) ranged.push([range, rule]);
      else if (rule.selector === 'from all') general.push(rule);
      // The rest speaks of marked packets, which a book's are not.
    }
    this.#ranged = new RangeTable(ranged);
    this.#general = general;
  }

  /** The ranges that its rules speak of. */
  static rangesOf(rules: readonly ReadRule[]): readonly Cidr[] {
    return rules.flatMap(({ selector }) => (selector.startsWith('to ') ? (parseCidr(selector.slice(3)) ?? []) : []));
  }

  /**
   * As the kernel walks the chain. `tunnelUp`: table 52 has a route for the address; without one `lookup 52` goes on to the next rule, and after the last
   * tailscaled's own rule comes, which asks table 52 too.
   */
  judge(address: IpAddress, { tunnelUp }: { readonly tunnelUp: boolean }): GuardVerdict {
    const speaking = [...this.#ranged.at(address), ...this.#general.filter(({ family }) => family === address.family)];
    for (const rule of speaking.sort((a, b) => a.preference - b.preference || openFirst(a, b))) {
      if (rule.action === 'prohibit') return { goes: 'denied', by: rule };
      if (rule.action === 'lookup main') return { goes: 'clear', by: rule };
      if (rule.action === 'lookup 52' && tunnelUp) return { goes: 'tailnet', by: rule };
    }
    return { goes: tunnelUp ? 'tailnet' : 'clear', by: undefined };
  }
}

/** Of two rules of one preference the kernel asks the one first that was added first, which is not told: whatever lets more is taken for it. */
const openFirst = (a: ReadRule, b: ReadRule): number => Number(a.action === 'prohibit') - Number(b.action === 'prohibit');
