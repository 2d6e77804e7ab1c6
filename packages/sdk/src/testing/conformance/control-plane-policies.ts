import { expect, it } from 'vitest';
import type { TailnetControl } from '../../ports/control-plane.ts';
import type { CallOptions } from '../../ports/store.ts';
import { POLICY, type Run } from './control-plane-support.ts';

const OWNERS = { 'tag:a': [], 'tag:b': ['tag:a'], 'tag:router': [] };
const ALL = { src: ['*'], dst: ['*'], ip: ['*'] };
const grant = (part: object): object => ({ tagOwners: OWNERS, grants: [{ ...ALL, ...part }] });
const tested = (test: object): object => ({ tagOwners: OWNERS, grants: [ALL], tests: [test] });
const ssh = (part: object): object => ({
  tagOwners: OWNERS,
  ssh: [{ action: 'accept', src: ['tag:a'], dst: ['tag:b'], users: ['root'], ...part }],
});

const UNDEFINED: Readonly<Record<string, object>> = {
  'a tag': grant({ src: ['tag:nobodys'] }),
  'a tag of via': grant({ via: ['tag:nobodys'] }),
  'an owner': { tagOwners: { 'tag:a': ['tag:nobodys'] }, grants: [] },
  'an approver': { grants: [], autoApprovers: { routes: { '10.0.0.0/8': ['tag:nobodys'] } } },
  'an approver of exit nodes': { grants: [], autoApprovers: { exitNode: ['tag:nobodys'] } },
  'a tag of ssh': ssh({ dst: ['tag:nobodys'] }),
  'a target': { grants: [], nodeAttrs: [{ target: ['tag:nobodys'], attr: ['funnel'] }] },
  'a tag of a test': tested({ src: 'tag:nobodys', accept: ['tag:a:80'] }),
  'a group': grant({ src: ['group:nobodys'] }),
  'a host': grant({ dst: ['nowhere'] }),
  'an IP set': grant({ dst: ['ipset:nothing'] }),
  'an IP set in another': { grants: [], ipsets: { 'ipset:a': ['add ipset:nothing'] } },
  'a posture': grant({ srcPosture: ['posture:none'] }),
  'an autogroup': grant({ src: ['autogroup:friends'] }),
};
const MALFORMED: Readonly<Record<string, object | string>> = {
  'no object': '[]',
  'cut off': '{ "grants": ',
  'a comma after nothing': '{ "grants": [,] }',
  'a section that is not known': { grant: [] },
  'a section twice': '{ "grants": [], "Grants": [] }',
  'a field that is not known': grant({ ports: ['80'] }),
  'a grant of nothing': { grants: [{ src: ['*'], dst: ['*'] }] },
  'a port out of range': grant({ ip: ['65536'] }),
  'ports the wrong way round': grant({ ip: ['90-80'] }),
  'ports of what has none': grant({ ip: ['icmp:8'] }),
  'host bits': grant({ dst: ['10.0.0.1/8'] }),
  'every address as a network': grant({ dst: ['0.0.0.0/0'] }),
  'via what is no tag': grant({ via: ['10.0.0.1'] }),
  'the internet as a source': grant({ src: ['autogroup:internet'] }),
  'own devices of a tag': grant({ src: ['tag:a'], dst: ['autogroup:self'] }),
  'an acl that denies': { acls: [{ action: 'deny', src: ['*'], dst: ['*:*'] }] },
  'an acl without a port': { acls: [{ action: 'accept', src: ['*'], dst: ['10.0.0.1'] }] },
  'a group in a group': { grants: [], groups: { 'group:a': ['group:a'] } },
  'an IP set of itself': { grants: [], ipsets: { 'ipset:a': ['ipset:b'], 'ipset:b': ['ipset:a'] } },
  'an IP set of tags': { tagOwners: OWNERS, grants: [], ipsets: { 'ipset:a': ['tag:a'] } },
  'ssh to everything': ssh({ dst: ['*'] }),
  'ssh that asks a machine to log in': ssh({ action: 'check' }),
  'ssh as nobody': ssh({ users: [] }),
  'a test of nothing': tested({ src: 'tag:a' }),
  'a test of all ports': tested({ src: 'tag:a', accept: ['tag:b:*'] }),
  'a test of a network': tested({ src: 'tag:a', accept: ['10.0.0.0/8:80'] }),
  'a test of everyone': tested({ src: '*', accept: ['tag:b:80'] }),
  'a test of icmp': tested({ src: 'tag:a', proto: 'icmp', accept: ['tag:b:80'] }),
};

/** Grants as a policy compiler writes them, among what customers write. */
const LIVED_IN = `// ours and theirs
{
  "groups": { "group:ops": ["ada@example.com", "bob@example.com"], },
  "hosts": { "db": "10.77.0.5" },
  "ipsets": { "ipset:prod": ["add 10.78.0.0/16", "remove 10.78.9.0/24", "add host:db"] },
  "postures": { "posture:mac": ["node:os == 'macos'"] },
  "tagOwners": { "tag:a": ["autogroup:admin"], "tag:b": ["tag:a"], "tag:router": [] },
  "acls": [{ "action": "accept", "proto": "tcp", "src": ["group:ops"], "dst": ["db:22,80-90"] }],
  "grants": [
    { "src": ["tag:a"], "dst": ["10.77.0.0/16"], "ip": ["tcp:443", "udp:53"], "via": ["tag:router"] }, /* a router's */
    { "src": ["tag:b"], "dst": ["ipset:prod"], "ip": ["*"] },
    { "src": ["tag:b"], "dst": ["tag:a"], "ip": ["*"], "srcPosture": ["posture:mac"] },
    { "src": ["autogroup:member"], "dst": ["autogroup:self", "autogroup:internet"], "ip": ["*"] },
  ],
  "autoApprovers": { "routes": { "10.77.0.0/16": ["tag:router"] }, "exitNode": ["tag:router"] },
  "ssh": [{ "action": "accept", "src": ["tag:a"], "dst": ["tag:b"], "users": ["autogroup:nonroot"] },
          { "action": "check", "checkPeriod": "12h", "src": ["group:ops"], "dst": ["tag:b"], "users": ["root"] }],
  "nodeAttrs": [{ "target": ["tag:a"], "attr": ["funnel"] }],
  "randomizeClientPort": true,
  TESTS
}`;
const withTests = (tests: object, kind: 'tests' | 'sshTests' = 'tests'): string => LIVED_IN.replace('TESTS', `"${kind}": ${JSON.stringify(tests)},`);

const MET: readonly object[] = [
  { src: 'tag:a', accept: ['10.77.1.1:443', 'db:53'], deny: ['10.77.1.1:80', '10.79.0.1:443', 'tag:b:443'] },
  { src: 'tag:a', proto: 'udp', accept: ['db:53'], deny: ['db:443'] },
  { src: 'tag:b', accept: ['10.78.1.1:1', 'db:1'], deny: ['10.78.9.1:1', 'tag:a:1'] },
  { src: 'group:ops', accept: ['db:85', '9.9.9.9:53'], deny: ['db:91', 'tag:a:22'] },
  { src: 'ada@example.com', accept: ['ada@example.com:22'], deny: ['bob@example.com:22'] },
];
const MET_SSH: readonly object[] = [
  { src: 'tag:a', dst: ['tag:b'], accept: ['ubuntu'], deny: ['root'] },
  { src: 'group:ops', dst: ['tag:b'], accept: ['root'], check: ['root'], deny: ['ubuntu'] },
];
/** `*` as a source is the tailnet and what is behind its routers, not every address. */
const FROM_INSIDE = tested({ src: '100.64.0.99', accept: ['tag:a:80'] });
/** A policy, and what it is told. */
type Told = readonly (readonly [object | string, string])[];
const told = (tests: readonly (readonly [object, string])[], kind?: 'sshTests'): Told =>
  tests.map(([test, fault]) => [withTests([test], kind), fault]);
const FAILING: Told = told([
  [{ src: 'tag:a', accept: ['10.77.1.1:80'] }, 'tag:a: address "10.77.1.1:80": want: Accept, got: Drop'],
  [{ src: 'tag:a', deny: ['10.77.1.1:443'] }, 'tag:a: address "10.77.1.1:443": want: Drop, got: Accept'],
  [{ src: 'tag:a', proto: 'tcp', accept: ['db:53'] }, 'tag:a: address "db:53" (tcp): want: Accept, got: Drop'],
  [{ src: 'tag:b', accept: ['10.78.9.1:1'] }, 'tag:b: address "10.78.9.1:1": want: Accept, got: Drop'],
  [{ src: 'tag:b', accept: ['tag:a:1'] }, 'tag:b: address "tag:a:1": want: Accept, got: Drop'],
]);
const FROM_OUTSIDE = [tested({ src: '10.66.0.1', accept: ['tag:a:80'] }), '10.66.0.1: address "tag:a:80": want: Accept, got: Drop'] as const;
const FAILING_SSH: Told = told(
  [
    [{ src: 'tag:a', dst: ['tag:b'], deny: ['ubuntu'] }, 'tag:a: user "ubuntu" at "tag:b": want: Drop, got: Accept'],
    [{ src: 'tag:a', dst: ['tag:b'], check: ['ubuntu'] }, 'tag:a: user "ubuntu" at "tag:b": want: Check, got: Accept'],
  ],
  'sshTests',
);

const textOf = (policy: object | string): string => (typeof policy === 'string' ? policy : JSON.stringify(policy));

/** Writes each, and gives the names of those that were not refused as they ought to be, or changed something. */
async function wronglyTaken(control: TailnetControl, policies: Readonly<Record<string, object | string>>, options: CallOptions): Promise<unknown[]> {
  const wrong: unknown[] = [];
  const before = await control.readPolicy(options);
  for (const [name, policy] of Object.entries(policies)) {
    const outcome = await control.writePolicy(textOf(policy), before.etag, options).then(
      () => 'taken',
      ({ code, retry, issues, details }) => ({ code, retry, issues: issues.length, status: details.status }),
    );
    const asItOught = { code: 'POLICY_REFUSED', retry: 'never', issues: 1, status: '400' };
    if (JSON.stringify(outcome) !== JSON.stringify(asItOught)) wrong.push([name, outcome]);
  }
  expect(await control.readPolicy(options)).toEqual(before);
  return wrong;
}

export function policyJudgementCases(run: Run): void {
  it.each([
    ['P20: a policy that names what is not defined', UNDEFINED],
    ['P21: a policy that says what cannot be said', MALFORMED],
  ])('%s is POLICY_REFUSED and changes nothing', (_, policies) =>
    run(async ({ options, make }) => {
      const { control } = await make();
      await control.writePolicy(POLICY, 'ts-default', options);
      expect(await wronglyTaken(control, policies, options)).toEqual([]);
    })(),
  );
  it(
    'P22: their twins are taken: a policy with everything in it, as written, its comments too, and its own tests met',
    run(async ({ options, make }) => {
      const { control } = await make();
      let etag = 'ts-default';
      const twins = [
        grant({}),
        grant({ via: ['tag:router'] }),
        FROM_INSIDE,
        ssh({}),
        { grants: [] },
        { acls: [] },
        {},
        tested({ src: 'tag:a', accept: ['tag:b:80'] }),
      ];
      for (const policy of [...twins, withTests(MET), withTests(MET_SSH, 'sshTests')]) {
        await control.writePolicy(textOf(policy), etag, options);
        const read = await control.readPolicy(options);
        expect(read.text).toBe(textOf(policy));
        etag = read.etag;
      }
    }),
  );
  it.each([
    ['P23: a policy whose own tests fail', 'tests', [...FAILING, FROM_OUTSIDE]],
    ['P24: a policy whose own sshTests fail', 'sshTests', FAILING_SSH],
  ] as const)('%s is POLICY_REFUSED, says which, and changes nothing', (_, kind, failing) =>
    run(async ({ options, make }) => {
      const { control } = await make();
      const met = withTests(kind === 'tests' ? MET : MET_SSH, kind);
      await control.writePolicy(met, 'ts-default', options);
      const before = await control.readPolicy(options);
      for (const [policy, fault] of failing) {
        const issues = [{ path: 'policy', message: fault }];
        await expect(control.writePolicy(textOf(policy), before.etag, options)).rejects.toMatchObject({ code: 'POLICY_REFUSED', issues });
      }
      expect(await control.readPolicy(options)).toEqual(before);
    })(),
  );
  it(
    'P25: of two faults, an old etag is told first: the policy may be right by what is there now',
    run(async ({ options, make }) => {
      const { control } = await make();
      await control.writePolicy(POLICY, 'ts-default', options);
      await expect(control.writePolicy('{', 'ts-default', options)).rejects.toMatchObject({ code: 'CONTROL_CONFLICT', retry: 'backoff' });
    }),
  );
}
