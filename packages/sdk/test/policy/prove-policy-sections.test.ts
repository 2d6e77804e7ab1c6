import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { customerTagsOf } from '../../src/domain/policy/identity-tags.ts';
import { judgeEvidence } from '../../src/domain/policy/judge-evidence.ts';
import { changed, inputsOf, type Read, readBack } from './evidence.ts';
import { type Customer, customerOf, digest } from './worlds.ts';

const config = { allowedNetworks: ['10.0.0.0/28'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false } as const;
const narrow = { ...config, allowedNetworks: ['10.0.0.8/29'] };
const [a, b] = [customerOf('a', config, 0), customerOf('b', narrow, 1)];
const shared = readBack([a, b], 'shared');
const tagOf = ({ member }: Customer): string => member.sourceTags[0] ?? '';
const routerOf = ({ member }: Customer): string => member.routerTag;

const judged = (read: Read) => judgeEvidence(inputsOf(read), digest).findings.map(({ kind, by }) => `${kind} ${by}`);
/** With more text in the policy's object, before what is there. */
const withText = (more: string, read: Read = shared): Read => changed(read, ['policy', '(shared)'], (text) => text.replace('{', `{ ${more},`));
/** Without what is compiled of these sections. */
const bare = changed(shared, ['policy', '(shared)'], (text) => {
  const { grants } = parse(text) as { readonly grants: unknown };
  return JSON.stringify({ grants });
});

describe('owners, approvers and shells in a shared policy', () => {
  it.each([
    ['members in another case', `"TagOwners": { "${tagOf(a)}": ["group:dev"] }`, [`foreign-owner tagOwners.${tagOf(a)}`]],
    ['comments, and commas at the end', `/* ours */ "tagOwners": { "${tagOf(a)}": ["group:dev",], }`, [`foreign-owner tagOwners.${tagOf(a)}`]],
    [
      'a tag of nobody’s',
      '"tagOwners": { "tag:bifrost-customer-x-0123456789abcdef": ["tag:ops"] }',
      ['foreign-owner tagOwners.tag:bifrost-customer-x-0123456789abcdef'],
    ],
    ['twin: a tag that says nothing of customers', '"tagOwners": { "tag:printer": ["tag:ops"] }', []],
    ['bug: roles of people', `"autoApprovers": { "routes": { "10.0.0.0/8": ["autogroup:network-admin", "autogroup:it-admin"] } }`, []],
    ['twin: our owner', `"tagOwners": { "${tagOf(a)}": ["tag:bifrost-book"], "tag:bifrost-book": ["autogroup:admin"] }`, []],
    ['owners in a circle', '"tagOwners": { "tag:bifrost-book": ["tag:x"], "tag:x": ["tag:bifrost-book", "tag:x"] }', []],
    [
      'approvers in another case',
      `"AutoApprovers": { "Routes": { "10.0.0.0/29": ["${routerOf(b)}"] } }`,
      ['foreign-approver autoApprovers.routes.10.0.0.0/29'],
    ],
    ['the half of a network that both have', `"autoApprovers": { "routes": { "10.0.0.8/30": ["${routerOf(b)}"] } }`, []],
    [
      'more than one has, of which another has some',
      `"autoApprovers": { "routes": { "10.0.0.0/28": ["${routerOf(b)}"] } }`,
      ['foreign-approver autoApprovers.routes.10.0.0.0/28'],
    ],
    ['one address', `"autoApprovers": { "routes": { "10.0.0.1": ["${routerOf(b)}"] } }`, ['foreign-approver autoApprovers.routes.10.0.0.1']],
    ['a route that nobody can read', `"autoApprovers": { "routes": { "ten": ["${routerOf(b)}"] } }`, ['foreign-approver autoApprovers.routes.ten']],
    [
      'the addresses of another’s device',
      `"autoApprovers": { "routes": { "100.64.0.0/24": ["${routerOf(b)}"] } }`,
      ['foreign-approver autoApprovers.routes.100.64.0.0/24'],
    ],
    ['twin: a network that nobody else has', `"autoApprovers": { "routes": { "192.0.2.0/24": ["${routerOf(b)}"] } }`, []],
    [
      'approvers by a selector that nobody knows here',
      '"autoApprovers": { "routes": { "10.0.0.0/29": ["svc:x"] } }',
      ['foreign-approver autoApprovers.routes.10.0.0.0/29'],
    ],
    ['a shell in another case', `"SSH": [{ "Action": "check", "SRC": ["${routerOf(b)}"], "Dst": ["${tagOf(a)}"] }]`, ['foreign-shell ssh.0']],
    ['a shell for a host', `"hosts": { "theirs": "100.64.1.2" }, "ssh": [{ "src": ["theirs"], "dst": ["${tagOf(a)}"] }]`, ['foreign-shell ssh.0']],
    ['twin: a shell on one’s own', `"ssh": [{ "src": ["${routerOf(a)}"], "dst": ["${tagOf(a)}"] }]`, []],
    ['twin: everybody’s shell on their own machines', '"ssh": [{ "src": ["autogroup:member"], "dst": ["autogroup:self"] }]', []],
    ['twin: the customers’ machines on the platform’s', `"ssh": [{ "src": ["${routerOf(a)}"], "dst": ["tag:ops"] }]`, []],
  ] as const)('%s', (_, text, found) => expect(judged(withText(text, bare))).toEqual(found));

  it('two tailnets of one customer are told apart', () => {
    const second = changed(shared, ['tailnet', 'b'], (tailnet) => ({ ...tailnet, customerId: 'a' }));
    const tags = customerTagsOf({ customerId: 'a', tailnetName: 'b' }, digest);
    const text = `"ssh": [{ "src": ["${tags.router}"], "dst": ["${tagOf(a)}"] }]`;
    const only = {
      tailnet: second.tailnet,
      settings: second.settings,
      policy: { '(shared)': `{ ${text}, "grants": [] }` },
      devices: { '(shared)': [] },
    } as Read;
    expect(judged(only)).toEqual(['foreign-shell ssh.0']);
  });

  it('what we wrote for a tailnet is no finding while it is being deleted; twin: of another customer it is', () => {
    const { router } = customerTagsOf({ customerId: 'c', tailnetName: 'c' }, digest);
    const text = withText(`"autoApprovers": { "routes": { "10.0.0.0/29": ["${router}"] } }`, bare);
    const leaving = (tenancy: string): Read => ({ ...text, leaving: { c: { customerId: 'c', tenancy } } });
    expect(judged(leaving('shared'))).toEqual([]);
    expect(judged(leaving('organization'))).toEqual(['foreign-approver autoApprovers.routes.10.0.0.0/29']);
  });

  it('tells it once of an entry, however many come by it', () => {
    const customers = Array.from({ length: 200 }, (_, index) => customerOf(`c-${index}`, config, index));
    const read = readBack(customers, 'shared');
    const others = customers.slice(1).map(routerOf);
    const routes = { '10.0.0.0/27': others };
    const edited = changed(read, ['policy', '(shared)'], (text) => JSON.stringify({ ...(parse(text) as object), autoApprovers: { routes } }));
    expect(judged(edited)).toEqual(['foreign-approver autoApprovers.routes.10.0.0.0/27']);
  });
});
