import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ClusterRanges, StoredTailnet } from '../../src/domain/model.ts';
import { CONTAINERS } from '../../src/domain/names.ts';
import type { EgressRuleShape } from '../../src/domain/network-policy-shape.ts';
import type { SidecarFragment } from '../../src/domain/pod-shape.ts';
import { compilePolicy, type Grant } from '../../src/domain/policy/compile-policy.ts';
import { networkPoliciesOf } from '../../src/domain/policy/network-policies.ts';
import { mergePolicy } from '../../src/domain/policy/policy-document.ts';
import { renderSidecar } from '../../src/domain/render-sidecar.ts';
import { requireApart, requireGuarded, requireIntended } from '../../src/manager/before-writing.ts';
import type { PolicyGroup } from '../../src/manager/policy-members.ts';
import { renderInput } from '../support/render-input.ts';
import { type Customer, configuration, customerOf, isOurs, world } from './worlds.ts';

const refusal = (work: () => void): { readonly code?: string; readonly details?: { readonly by?: string } } | undefined => {
  try {
    work();
    return undefined;
  } catch (error) {
    return error as object;
  }
};

const tailnetOf = (id: string, config: Customer['member']['config']): StoredTailnet =>
  ({ key: id, spec: { customerId: id, config }, state: {} }) as unknown as StoredTailnet;

/** Of the customers of one tailnet, as the manager puts it together. */
function groupOf(customers: readonly Customer[]): PolicyGroup {
  const members = customers.map(({ member }) => member);
  const parts = customers.map(({ id, member }) => ({ tailnet: tailnetOf(id, member.config), member, hash: '' }));
  return { parts, still: [], sections: compilePolicy({ members, shared: customers.length > 1 }), ownership: { isOurs } };
}
const textOf = ({ sections, ownership }: PolicyGroup, more: readonly Grant[] = []): string =>
  mergePolicy('{}\n', { ...sections, grants: [...sections.grants, ...more] }, ownership);

describe('a policy before it is written', () => {
  it('passes as it is compiled, whoever is in the tailnet, and whatever others have in the file', () => {
    fc.assert(
      fc.property(world, (customers) => {
        const group = groupOf(customers);
        requireIntended(textOf(group), group);
        const theirs = '{ "grants": [{ "src": ["*"], "dst": ["*"], "ip": ["*"] }], "tagOwners": { "tag:theirs": [] } }';
        requireIntended(mergePolicy(theirs, group.sections, group.ownership), group);
      }),
    );
  });

  it('bug: was refused for rules of the customer’s own in the older form, which nobody replaces', () => {
    const config = { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false } as const;
    const group = groupOf([customerOf('one', config, 0)]);
    const tag = group.parts[0]?.member.sourceTags[0];
    const theirs = JSON.stringify({ acls: [{ action: 'accept', src: [tag], dst: ['192.168.1.1:5432'] }] });
    requireIntended(mergePolicy(theirs, group.sections, group.ownership), group);
  });

  it('is refused with an entry of ours that opens what is not allowed, is blocked, or is another customer’s', () => {
    const config = { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: ['10.9.0.0/16'], accessPolicy: 'restrictive', enableLogging: false } as const;
    const [one, other] = [
      customerOf('one', config, 0),
      customerOf('other', { ...config, allowedNetworks: ['192.168.0.0/16'], blockedNetworks: [] }, 1),
    ];
    const group = groupOf([one, other]);
    const from = (customer: Customer, dst: string): Grant => ({ src: customer.member.sourceTags, dst: [dst], ip: ['*'] });
    for (const grant of [
      from(one, '10.0.0.0/7'),
      from(one, '10.9.1.0/24'),
      from(one, '192.168.1.0/24'),
      from(other, '10.1.0.0/16'),
      from(one, '*'),
    ]) {
      const text = textOf(group, [grant]);
      const at = (JSON.parse(text) as { grants: readonly Grant[] }).grants.findIndex(({ dst }) => dst[0] === grant.dst[0] && dst.length === 1);
      expect(refusal(() => requireIntended(text, group))).toMatchObject({ code: 'ISOLATION_VIOLATED', details: { by: `grants.${at}` } });
    }
    requireIntended(textOf(group, [from(one, '10.1.0.0/16'), from(other, '192.168.1.0/24')]), group); // the twin of each
  });
});

const ranges: ClusterRanges = renderInput.ranges;
const settings = { ingest: { url: renderInput.ingestUrl } };
const guarded = (fragment: SidecarFragment, network = renderInput.network): void =>
  requireGuarded(fragment, { tailnet: tailnetOf('acme', network), ranges, settings });

/** The guard's program with one line changed. */
function programmed(fragment: SidecarFragment, change: (lines: readonly string[]) => readonly string[]): SidecarFragment {
  const initContainers = fragment.initContainers.map((container) => {
    if (container.name !== CONTAINERS.guard) return container;
    const command = container['command'] as readonly string[];
    return { ...container, command: [...command.slice(0, -1), change(String(command.at(-1)).split('\n')).join('\n')] };
  });
  return { ...fragment, initContainers };
}
const rulesIn = (fragment: SidecarFragment): readonly string[] => {
  let rules: readonly string[] = [];
  programmed(fragment, (lines) => {
    rules = lines.filter((line) => line.startsWith('add '));
    return lines;
  });
  return rules;
};

describe('a guard before it is put in', () => {
  it('passes as it is rendered, for any configuration', () => {
    fc.assert(fc.property(configuration, (network) => guarded(renderSidecar({ ...renderInput, network }), network)));
  });

  it('is refused without the rule of a blocked, an allowed or a cluster’s network, by name; twin: with it', () => {
    const fragment = renderSidecar(renderInput);
    guarded(fragment);
    for (const network of ['169.254.0.0/16', '10.0.0.0/8', '192.168.0.0/16', '10.244.0.0/24']) {
      const rules = rulesIn(fragment).filter((rule) => rule.includes(` ${network} `));
      expect(rules.length, network).toBeGreaterThan(0);
      const without = programmed(fragment, (lines) => lines.filter((line) => !rules.includes(line)));
      expect(
        refusal(() => guarded(without)),
        network,
      ).toMatchObject({ code: 'ISOLATION_VIOLATED' });
    }
  });
});

const BOOK = { sidecarId: 's1', namespace: 'acme' } as const;
const [manifest] = networkPoliciesOf({
  ...{ ...BOOK, ranges, dns: [], ingest: [], control: [{ at: [{ kind: 'outside' }], ports: [{ protocol: 'tcp', port: 443 }] }], relays: [] },
});
const withRule = (rule: EgressRuleShape) => {
  if (manifest === undefined) throw new RangeError('there is no manifest');
  return [{ ...manifest, spec: { ...manifest.spec, egress: [...(manifest.spec.egress ?? []), rule] } }];
};

describe('a NetworkPolicy before it is written', () => {
  it('passes as it is made; twin: refused where a rule of it lets pods of other customers be reached', () => {
    const ports = [{ protocol: 'UDP', port: 53 }] as const;
    const apart = (rule: EgressRuleShape) => requireApart(withRule(rule), { ...BOOK, ranges });
    for (const peer of [
      { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } }, podSelector: {} },
      { podSelector: {} }, // of its own namespace
      { ipBlock: { cidr: '0.0.0.0/0', except: ['10.244.0.0/24'] } },
      // Who names a part of the cluster knows what is there.
      { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'infra', env: 'prod' } }, podSelector: {} },
      { namespaceSelector: { matchLabels: { team: 'platform' } }, podSelector: {} },
      { ipBlock: { cidr: '10.244.0.0/28' } },
      { ipBlock: { cidr: '2001:db8:5::/48' } },
    ])
      apart({ to: [peer], ports });
    for (const peer of [
      { namespaceSelector: {}, podSelector: {} },
      { namespaceSelector: { matchExpressions: [{ key: 'bifrost.dev/customer-id', operator: 'Exists' }] } },
      { ipBlock: { cidr: '0.0.0.0/0' } },
      { ipBlock: { cidr: '10.244.0.0/16' } },
    ])
      expect(
        refusal(() => apart({ to: [peer], ports })),
        JSON.stringify(peer),
      ).toMatchObject({
        code: 'ISOLATION_VIOLATED',
        details: { by: 'acme/bifrost-s1-egress' },
      });
  });

  it('is refused where it opens all of a family of which no range of pods is told; twin: told, and left out', () => {
    const to = (cidr: string, ...except: string[]) => withRule({ to: [{ ipBlock: { cidr, except } }], ports: [{ protocol: 'UDP' }] });
    for (const cidr of ['::/0', '2000::/3'])
      expect([cidr, refusal(() => requireApart(to(cidr), { ...BOOK, ranges }))]).toEqual([
        cidr,
        expect.objectContaining({ code: 'ISOLATION_VIOLATED', details: { by: 'acme/bifrost-s1-egress' } }),
      ]);
    const six = { ...ranges, pods: ['fd00:244::/64'] };
    expect(refusal(() => requireApart(to('0.0.0.0/0'), { ...BOOK, ranges: six }))).toMatchObject({ code: 'ISOLATION_VIOLATED' });
    const both = { ...ranges, pods: [...ranges.pods, ...six.pods] };
    requireApart(to('::/0', 'fd00:244::/64'), { ...BOOK, ranges: both });
    expect(refusal(() => requireApart(to('::/0', 'fd00:245::/64'), { ...BOOK, ranges: both }))).toMatchObject({ code: 'ISOLATION_VIOLATED' });
  });

  it('is refused where it names a port of everybody’s pods, whatever its number is there; twin: of a namespace that is named', () => {
    const ports = [{ protocol: 'TCP', port: 'http' }] as const;
    const named = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'infra' } } };
    requireApart(withRule({ to: [named], ports }), { ...BOOK, ranges });
    const everybody = withRule({ to: [{ namespaceSelector: {} }], ports });
    expect(refusal(() => requireApart(everybody, { ...BOOK, ranges }))).toMatchObject({ code: 'ISOLATION_VIOLATED' });
  });

  it('is refused when it selects nobody', () => {
    const nobody = withRule({ to: [{ podSelector: {} }] }).map((each) => ({
      ...each,
      spec: { ...each.spec, podSelector: { matchLabels: { app: 'other' } } },
    }));
    expect(refusal(() => requireApart(nobody, { ...BOOK, ranges }))).toMatchObject({ code: 'ISOLATION_VIOLATED', details: { by: 'no policy' } });
  });
});
