import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Bifrost } from './support/bifrost.ts';
import { type ContainerAddress, exec, logs, requestFromBook } from './support/containers.ts';
import { ControlClient, ORGANIZATION, plantFault } from './support/control.ts';
import { type Customer, clientOfSecret, joinGateway } from './support/customer.ts';
import { during, eventually } from './support/eventually.ts';
import type { Named } from './support/kubernetes.ts';
import { snapshot } from './support/snapshot.ts';
import { Stage, sidecarWish } from './support/stage.ts';

// Two customers whose networks have the same addresses: `iso-a` brought a tailnet, `iso-b` gets one that Bifrost makes. Tests build on each other.
const stage = new Stage();
const { platform, kubernetes } = stage;
const organization = stage.use(new ControlClient(ORGANIZATION));
const CUSTOMER = expect.stringMatching(/^tag:bifrost-customer-iso-b-[0-9a-f]{16}$/);
const POLICY_OF_B = {
  autoApprovers: { routes: { '10.0.0.0/8': ['tag:bifrost-router'] } },
  grants: [{ src: ['tag:bifrost-book', CUSTOMER], dst: ['10.0.0.0/8'], ip: ['*'] }],
  tests: [{ src: CUSTOMER, accept: ['10.0.0.0:443'] }],
};
// biome-ignore lint/suspicious/noExplicitAny: a document of many shapes
const readPolicy = (text: string): any => JSON.parse(text.replace(/,(?=\s*[\]}])/g, '')); // entries that were taken out leave a comma
/** Of all books and of routers; of the customer and of its book besides. */
const OWNED = /^(tag:bifrost-(book|router|customer-iso-b-[0-9a-f]{16}|book-iso-b-book-b-[0-9a-f]{16})){4}$/;

interface Deployment {
  readonly template: { readonly spec: { readonly initContainers: readonly { readonly command: readonly string[] }[] } };
}

let one: Customer;
let other: Customer;
let controlOfB: ControlClient;
let secretOfB = '';
const workloads: Named[] = [];
const specs = new Map<Named, string>();

async function addBook(space: string, name: string): Promise<void> {
  const workload = await stage.book({ name, namespace: space });
  await stage.pods(space, name);
  workloads.push(workload);
  specs.set(workload, await stage.specOf(workload));
}
async function attached(space: string, name: string, tailnetName: string): Promise<ContainerAddress> {
  const sidecarId = await stage.attach(`${space}/${name}`, tailnetName);
  await platform.sidecarReaches(sidecarId, 'connected', 120_000);
  return stage.inBook(space, name);
}
const hostnames = async (control: ControlClient): Promise<readonly string[]> => (await control.devices()).map(({ hostname }) => hostname).sort();

beforeAll(async () => {
  await stage.open();
  one = await stage.customer({ name: 'iso-a' });
  await stage.space('iso-a', 'iso-a');
  await stage.space('iso-b', 'iso-b');
  await Promise.all([addBook('iso-a', 'book-a'), addBook('iso-a', 'third'), addBook('iso-b', 'book-b')]);
  await stage.tailnet({ customer_id: 'iso-a', tailnet_name: 'iso-a' });
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('a tailnet that Bifrost makes', () => {
  test('has its policy before its first key, also when the policy cannot be written at first', async () => {
    const before = await organization.tailnets();
    await using _fault = await plantFault({ method: 'POST', path: '/tailnet/-/acl', status: 503, count: 4 });
    const { body: created } = await stage.createTailnet({ customer_id: 'iso-b', tailnet_name: 'iso-b', tenancy: 'organization' });
    expect(created).toMatchObject({ tailnet_name: 'iso-b', status: 'creating' });
    secretOfB = `bifrost-tailnet-${created.tailnet_id}`;
    const seen = { keysWithoutPolicy: 0, withoutPolicy: 0 };
    const attach = async (): Promise<void> => {
      const sidecarId = await stage.attach('iso-b/book-b', 'iso-b');
      await kubernetes.waitFor({ apiVersion: 'v1', kind: 'Secret', metadata: { name: secretOfB, namespace: 'bifrost' } }, 'is there', () => true);
      controlOfB = stage.use(new ControlClient(await clientOfSecret(kubernetes, secretOfB)));
      await during(
        'no key without a policy',
        async () => void (await platform.sidecarReaches(sidecarId, 'connected', 120_000)),
        async () => {
          const keys = await controlOfB.keys(); // first: a policy that comes between the two questions harms nothing
          const hasPolicy = (await controlOfB.policy()).text !== '{}';
          if (!hasPolicy) seen.withoutPolicy += 1;
          if (!hasPolicy && keys.length > 0) seen.keysWithoutPolicy += 1;
          return hasPolicy || keys.length === 0;
        },
      );
    };
    await attach();
    expect(seen.withoutPolicy).toBeGreaterThan(0);
    const { tagOwners, ...rest } = readPolicy((await controlOfB.policy()).text);
    expect(rest).toEqual(POLICY_OF_B);
    expect(Object.keys(tagOwners).join('')).toMatch(OWNED);
    expect(await organization.tailnets()).toHaveLength(before.length + 1);
  });

  test('lets the customer’s router in with a key of the customer’s own, and approves what it announces', async () => {
    const client = await clientOfSecret(kubernetes, secretOfB);
    other = stage.use(await joinGateway(client, { name: 'iso-b', routes: ['10.0.0.0/8'], tags: ['tag:bifrost-router'] }));
    expect(other.gateway.enabledRoutes).toEqual(['10.0.0.0/8']); // by the policy: nobody had approved it yet
    await stage.reaches(await stage.inBook('iso-b', 'book-b'), other);
  });
});

describe('two customers with the same private address', () => {
  test('each book gets its own customer’s page, never the other’s, however many ask at once', async () => {
    const [a, b] = [await attached('iso-a', 'book-a', 'iso-a'), await stage.inBook('iso-b', 'book-b')];
    expect(one.pageUrl).toBe(other.pageUrl);
    await stage.reaches(a, one);
    const pagesOf = async (address: ContainerAddress): Promise<Set<string>> => {
      const pages = new Set<string>();
      for (let turn = 0; turn < 4; turn += 1) {
        const answers = await Promise.all(Array.from({ length: 5 }, () => requestFromBook(address, { url: one.pageUrl, timeoutMs: 10_000 })));
        for (const { body, kind } of answers) pages.add(body || `no answer: ${kind}`);
      }
      return pages;
    };
    const [ofA, ofB] = await Promise.all([pagesOf(a), pagesOf(b)]);
    expect([...ofA]).toEqual([one.page]);
    expect([...ofB]).toEqual([other.page]);
  });

  test('each tailnet has its own devices only, and each sidecar sees no others', async () => {
    expect(await hostnames(one.control)).toEqual(['book-a', 'gateway-iso-a']);
    expect(await hostnames(controlOfB)).toEqual(['book-b', 'gateway-iso-b']);
    const peersOf = async (space: string, app: string): Promise<readonly string[]> => {
      const { stdout } = await exec(await stage.inBook(space, app, 'tailscale'), [
        'tailscale',
        '--socket=/var/run/tailscale/tailscaled.sock',
        'status',
        '--json',
      ]);
      const { Peer } = JSON.parse(stdout) as { Peer?: Readonly<Record<string, { readonly HostName: string }>> | null };
      return Object.values(Peer ?? {}).map(({ HostName }) => HostName);
    };
    expect(await peersOf('iso-a', 'book-a')).toEqual(['gateway-iso-a']);
    expect(await peersOf('iso-b', 'book-b')).toEqual(['gateway-iso-b']);
  });

  test('a book of one customer cannot be attached to the other’s tailnet; with its own it gets its own page', async () => {
    const before = await snapshot(kubernetes, [one.control, controlOfB]);
    const refused = await platform.call('POST', '/sidecars', sidecarWish('iso-a/third', 'iso-b'));
    expect(refused).toMatchObject({
      status: 403,
      body: { code: 'CUSTOMER_MISMATCH', issues: [{ path: 'book_deployment_id' }] },
    });
    expect(await snapshot(kubernetes, [one.control, controlOfB])).toEqual(before);
    await stage.reaches(await attached('iso-a', 'third', 'iso-a'), one);
    expect(await hostnames(controlOfB)).toEqual(['book-b', 'gateway-iso-b']);
  });

  test('the twin: the same book in a namespace with the other’s label gets the other’s page', async () => {
    await stage.space('iso-b-too', 'iso-b');
    await addBook('iso-b-too', 'third');
    await stage.reaches(await attached('iso-b-too', 'third', 'iso-b'), other);
    expect(await hostnames(controlOfB)).toEqual(['book-b', 'gateway-iso-b', 'third']);
  });
});

describe('the policy of a tailnet that Bifrost makes', () => {
  test('comes back when somebody takes our entry out of it; what they write beside it stays', async () => {
    const book = await stage.inBook('iso-b', 'book-b');
    const { text } = await controlOfB.policy();
    const policy = readPolicy(text);
    const theirs = { src: ['tag:theirs'], dst: ['tag:theirs'], ip: ['tcp:631'] };
    const edited = { ...policy, tagOwners: { ...policy.tagOwners, 'tag:theirs': [] }, grants: [theirs], tests: [] };
    const edit = () =>
      controlOfB.must('POST', '/tailnet/-/acl', `// an auditor's note\n${JSON.stringify(edited)}`, { 'content-type': 'application/hujson' });
    const isBack = async (): Promise<boolean> => (await controlOfB.policy()).text.includes('"10.0.0.0/8"\n');
    await edit();
    // Seen by packets: without the entry the book is refused, with it back it is served.
    await eventually('the book is refused', async () => {
      if (await isBack()) await edit(); // it may be, before anybody has asked
      return (await requestFromBook(book, { url: other.pageUrl, timeoutMs: 2_000 })).body !== other.page;
    });
    await eventually('our entry is back', isBack, { timeoutMs: 120_000 });
    await stage.reaches(book, other);
    const { text: kept } = await controlOfB.policy();
    expect(kept).toContain("// an auditor's note");
    expect(kept).toContain(JSON.stringify(theirs));
  }, 180_000);
});

describe('the proof of isolation', () => {
  interface Finding {
    readonly layer: string;
    readonly kind: string;
    readonly customer_id: string;
    readonly other_customer_id?: string;
    readonly by: string;
    readonly where: string;
  }
  const prove = async () => (await platform.must('POST', '/isolation:prove', { with_inputs: true })) as ProvenByWire;
  interface ProvenByWire {
    readonly proof: {
      readonly verdict: string;
      readonly findings: readonly Finding[];
      readonly inputs: readonly { readonly name: string; readonly sha256: string }[];
    };
    readonly inputs: readonly { readonly name: string; readonly text: string }[];
  }
  const passes = (): Promise<unknown> => eventually('nothing is found', async () => (await prove()).proof.verdict === 'apart', { timeoutMs: 60_000 });
  const managerSaid = async (): Promise<string> => {
    const pods = await platform.managerPods();
    return (await Promise.all(pods.map(({ metadata: { name } }) => logs({ namespace: 'bifrost', pod: name, container: 'network-manager' })))).join(
      '\n',
    );
  };

  test('passes on what is there, of which it has the hash, and whoever has its file can verify it', async () => {
    await passes();
    const proven = await prove();
    expect(proven.proof).toMatchObject({ verdict: 'apart', customers: 2, tailnets: 2, sidecars: 4, findings: [] });
    const { text } = await controlOfB.policy();
    const sha256 = createHash('sha256').update(text).digest('hex');
    expect(proven.proof.inputs).toContainEqual(expect.objectContaining({ name: 'policy iso-b', from: 'control-plane', sha256 }));
    using command = new Bifrost();
    const verify = (content: unknown) => command.run(['prove', '--verify', command.file('proof.json', JSON.stringify(content))]);
    expect(await verify(proven)).toMatchObject({ code: 0, stdout: expect.stringContaining('the proof holds') });
    const altered = proven.inputs.map((input) => (input.name === 'policy iso-b' ? { ...input, text: `${input.text} ` } : input));
    expect(await verify({ ...proven, inputs: altered })).toMatchObject({ code: 3, stdout: expect.stringContaining('input-altered, policy iso-b') });
  });

  test('names a grant that somebody wrote at the control server, and tells it; the twin, taken back, passes', async () => {
    const { text } = await controlOfB.policy();
    const policy = JSON.parse(text.replace(/^\/\/.*$/gm, '')) as typeof POLICY_OF_B;
    const opened = { ...policy, grants: [...policy.grants, { src: ['*'], dst: ['*'], ip: ['*'] }] };
    await controlOfB.must('POST', '/tailnet/-/acl', JSON.stringify(opened), { 'content-type': 'application/hujson' });
    const { proof } = await prove();
    const by = `grants.${policy.grants.length}`;
    expect(proof).toMatchObject({ verdict: 'open', findings: [{ kind: 'beyond-intent', customer_id: 'iso-b', by, where: 'policy iso-b' }] });
    await eventually('both are in the log', async () => {
      const said = await managerSaid();
      return said.includes('isolation does not hold') && /"action":"proveIsolation".*"outcome":"ISOLATION_VIOLATED"/.test(said);
    });
    await controlOfB.must('POST', '/tailnet/-/acl', text, { 'content-type': 'application/hujson' });
    expect((await prove()).proof.verdict).toBe('apart');
  });

  test('names a namespace whose label has become another customer’s; the twin, with its own, passes', async () => {
    await stage.space('iso-b-too', 'iso-a');
    const finding = { kind: 'foreign-namespace', customer_id: 'iso-b', other_customer_id: 'iso-a', by: 'namespace iso-b-too' };
    expect((await prove()).proof.findings).toEqual([expect.objectContaining(finding)]);
    await stage.space('iso-b-too', 'iso-b');
    expect((await prove()).proof.verdict).toBe('apart');
  });

  test('names a rule that was taken out of the guard in a template; the twin, put back, passes', async () => {
    const workload = workloads.find(({ metadata }) => metadata.name === 'book-b');
    if (workload === undefined) throw new Error('no book-b');
    const rolling = (paused: boolean) => kubernetes.mergePatch(workload, { spec: { paused } });
    await platform.taken('POST', '/tailnets/iso-b:pause', {}); // else the loop puts it back before anybody looks
    await rolling(true);
    const path = '/spec/template/spec/initContainers/0/command/2';
    const program = (JSON.parse(await stage.specOf(workload)) as Deployment).template.spec.initContainers[0]?.command[2] ?? '';
    const rule = '5120 to 10.0.0.0/8 prohibit';
    const without = program.replace(`add 4 ${rule}\n`, '');
    expect(without).not.toBe(program);
    await kubernetes.jsonPatch(workload, [{ op: 'replace', path, value: without }], 'lab-test');
    expect((await prove()).proof.findings.map(({ kind, by, where }) => [kind, by, where])).toEqual([
      ['guard-altered', `without IPv4 ${rule}`, 'workload iso-b/deployment-book-b'],
      ['fails-open', '5130 from all lookup main', 'workload iso-b/deployment-book-b'],
    ]);
    await kubernetes.jsonPatch(workload, [{ op: 'replace', path, value: program }], 'lab-test');
    await rolling(false);
    await platform.taken('POST', '/tailnets/iso-b:resume', {});
    await passes();
  });
});

describe('deleting a tailnet', () => {
  test('that has sidecars is refused, and changes nothing', async () => {
    const before = await snapshot(kubernetes, [one.control, controlOfB]);
    for (const name of ['iso-a', 'iso-b']) {
      expect(await platform.call('DELETE', `/tailnets/${name}`)).toMatchObject({ status: 409, body: { code: 'TAILNET_IN_USE' } });
    }
    expect(await snapshot(kubernetes, [one.control, controlOfB])).toEqual(before);
  });

  test('with cascade takes everything away: one that Bifrost made goes itself, the customer’s own stays with the customer’s things', async () => {
    const made = (await organization.tailnets()).filter(({ displayName }) => displayName.startsWith('iso-b-'));
    expect(made).toHaveLength(1);
    for (const name of ['iso-a', 'iso-b']) expect((await platform.call('DELETE', `/tailnets/${name}?cascade=true`)).status).toBe(202);
    for (const name of ['iso-a', 'iso-b']) await platform.tailnetReaches(name, 'gone');

    expect((await organization.tailnets()).map(({ displayName }) => displayName)).not.toContain(made[0]?.displayName);
    await expect(controlOfB.devices()).rejects.toThrow('401'); // with its client
    expect(await hostnames(one.control)).toEqual(['gateway-iso-a']);
    expect((await one.control.keys()).filter(({ description }) => description?.startsWith('bifrost-'))).toEqual([]);

    const secrets = await kubernetes.list('v1', 'Secret');
    expect(secrets.filter(({ metadata }) => metadata.labels?.['app.kubernetes.io/managed-by'] === 'bifrost')).toEqual([]);
    expect(secrets.map(({ metadata }) => metadata.name)).toContain('bifrost-customer-iso-a');
    for (const workload of workloads) expect(await stage.specOf(workload)).toBe(specs.get(workload));
    expect((await platform.must('GET', '/leftovers')).leftovers).toEqual([]);
  });
});
