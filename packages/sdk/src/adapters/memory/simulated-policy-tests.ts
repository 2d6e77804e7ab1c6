import { type Address, isIn, PLACES, type PolicyNames, rangeOf, type Selector } from './simulated-policy-names.ts';
import { hostPorts, protocolsOf, type Rule, type SshRule, WITH_PORTS } from './simulated-policy-rules.ts';
import { type FailedTest, type PolicySections, policyRefused, type TestText } from './simulated-policy-text.ts';

/** A device as tests of a policy know it. */
export interface PolicyDevice {
  readonly addresses: readonly string[];
  readonly enabledRoutes?: readonly string[];
  readonly tags: readonly string[];
}

/** One end of a packet that a test thinks of: whoever the selector means, whether or not such a device has joined. */
interface Party {
  readonly selector: Selector;
  /** Who has the address, when it is one. */
  readonly device?: PolicyDevice | undefined;
  /** An address neither of the tailnet nor behind a router: as a source, `*` does not mean it. */
  readonly isOutside?: boolean;
}

interface Target {
  readonly text: string;
  readonly selector: Selector;
  readonly port: number;
}
interface Test {
  readonly src: Selector;
  readonly protocols: readonly number[];
  readonly shownProtocol: string;
  readonly accept: readonly Target[];
  readonly deny: readonly Target[];
}
interface SshTest {
  readonly src: Selector;
  readonly dst: readonly Selector[];
  readonly accept: readonly string[];
  readonly deny: readonly string[];
  readonly check: readonly string[];
}

/** A host and a port, each a single one: not even a CIDR of one address. */
function readTarget(names: PolicyNames, text: string): Target {
  const { host, ports } = hostPorts(text, '');
  const [port] = ports;
  if (ports.length !== 1 || port === undefined || port.first !== port.last) throw policyRefused('tests: the port must be a single one');
  const selector = names.selector(host, PLACES.testDestination);
  if (selector.kind === 'host' && (!isSingle(selector) || host.includes('/')))
    throw policyRefused('tests: the destination must be a single host, not a CIDR range');
  return { text, selector, port: port.first };
}

const isSingle = ({ range }: Selector): boolean => range !== undefined && range[1] === (range[0].kind() === 'ipv4' ? 32 : 128);

function readTest(names: PolicyNames, { src, user, proto, accept, allow, deny }: TestText): Test {
  const identity = src + user;
  if (identity === '') throw policyRefused('tests: src must be one identity');
  if (accept.length + allow.length + deny.length === 0) throw policyRefused('tests: an entry must have at least one of accept and deny');
  const protocols = proto === '' ? [6, 17] : protocolsOf(proto);
  if (!protocols.every((number) => WITH_PORTS.includes(number))) throw policyRefused('tests: the protocol must be tcp, udp, sctp or empty');
  const targets = (texts: readonly string[]): readonly Target[] => texts.map((text) => readTarget(names, text));
  const expected = { accept: targets([...accept, ...allow]), deny: targets(deny) };
  return { src: names.selector(identity, PLACES.testSource), protocols, shownProtocol: proto, ...expected };
}

/** @throws {BifrostError} `POLICY_REFUSED` */
export function readTests(names: PolicyNames, { tests }: PolicySections): readonly Test[] {
  return (tests ?? []).map((entry) => readTest(names, entry));
}

/** @throws {BifrostError} `POLICY_REFUSED` */
export function readSshTests(names: PolicyNames, { sshtests }: PolicySections): readonly SshTest[] {
  return (sshtests ?? []).map(({ src, dst, accept, deny, check }) => {
    if (src === '' || dst.length === 0 || accept.length + deny.length + check.length === 0)
      throw policyRefused('sshTests: src, dst and one of accept, deny and check must be specified');
    return { src: names.selector(src, PLACES.testSource), dst: names.selectors(dst, PLACES.testDestination), accept, deny, check };
  });
}

/** The parties that a selector of a test stands for: of a group every user, of all else itself. */
function partiesOf(selector: Selector, devices: readonly PolicyDevice[]): readonly Party[] {
  if (selector.kind === 'user') return selector.users.map((user) => ({ selector: { kind: 'user', text: user, users: [user] } }));
  const text = isSingle(selector) ? selector.range?.[0].toNormalizedString() : undefined;
  const hasIt = (device: PolicyDevice): boolean => device.addresses.some((address) => rangeOf(address)?.[0].toNormalizedString() === text);
  const routes = devices.flatMap(({ enabledRoutes = [] }) => enabledRoutes).filter((route) => !route.endsWith('/0'));
  const isInside = ([...TAILNET, ...routes] as const).some((range) => endsOf(selector).some((end) => isWithin(end, range)));
  return [
    { selector, device: text === undefined ? undefined : devices.find(hasIt), ...(selector.kind === 'host' && !isInside ? { isOutside: true } : {}) },
  ];
}

const TAILNET = ['100.64.0.0/10', 'fd7a:115c:a1e0::/48'];
const isWithin = (address: Address, text: string): boolean => {
  const range = rangeOf(text);
  return range !== undefined && isIn(address, range);
};

const WHOLE_TAILNET = ['100.64.0.0', '100.127.255.255'].flatMap((text) => rangeOf(text)?.[0] ?? []);

function endsOf(selector: Selector): readonly Address[] {
  if (!selector.range) return [];
  const [first, width] = selector.range;
  const bytes = first.toByteArray().map((byte, index) => byte | (255 >> Math.min(8, Math.max(0, width - 8 * index))));
  const last = rangeOf(
    bytes.length === 4
      ? bytes.join('.')
      : (
          bytes
            .map((byte) => byte.toString(16).padStart(2, '0'))
            .join('')
            .match(/.{4}/g) ?? []
        ).join(':'),
  );
  return last ? [first, last[0]] : [first];
}

function isDevice(selector: Selector, { tags, addresses }: PolicyDevice): boolean {
  if (selector.kind === 'tag') return tags.includes(selector.text);
  if (selector.kind === 'tagged') return tags.length > 0;
  if (selector.kind === 'member') return tags.length === 0;
  return addresses.flatMap((address) => rangeOf(address)?.[0] ?? []).some((address) => selector.holds?.(address) ?? false);
}

/** Whether a rule's selector speaks of the party. */
function means(selector: Selector, { selector: meant, device, isOutside = false }: Party): boolean {
  const { kind, text, holds } = selector;
  if ((kind === 'everyone' && !isOutside) || kind === 'anywhere' || (device && isDevice(selector, device))) return true;
  if (meant.kind === 'tag')
    return kind === 'tagged' || (kind === 'tag' && text === meant.text) || (holds !== undefined && WHOLE_TAILNET.every(holds));
  if (meant.kind === 'user') return kind === 'member' || selector.users.some((user) => meant.users.includes(user));
  if (meant.kind === 'host') return holds !== undefined && endsOf(meant).every(holds);
  return kind === meant.kind && (kind !== 'role' || text === meant.text);
}

/** Whether one of a rule's ends is the party; `source` is who `autogroup:self` would be. */
function leads(ends: readonly Selector[], party: Party, source: Party): boolean {
  const [user] = source.selector.kind === 'user' ? source.selector.users : [];
  const isOwn = user !== undefined && (party.selector.kind === 'self' || party.selector.users.includes(user));
  return ends.some((end) => (end.kind === 'self' && isOwn) || means(end, party));
}

interface Policy {
  readonly rules: readonly Rule[] | undefined;
  readonly devices: readonly PolicyDevice[];
}

/** What of the tests the policy does not meet: accepted is what each of src reaches, denied what none of them does. */
export function failingTests(tests: readonly Test[], { rules, devices }: Policy): readonly FailedTest[] {
  const reaches = (src: Party, dst: Party, { protocols, port }: { protocols: readonly number[]; port: number }): boolean =>
    rules === undefined ||
    rules.some((rule) => {
      const fits = rule.ports.some(
        (ports) =>
          (ports.protocols.length === 0 || ports.protocols.some((one) => protocols.includes(one))) && ports.first <= port && port <= ports.last,
      );
      return fits && !rule.isBound && leads(rule.src, src, src) && leads(rule.dst, { ...dst, isOutside: false }, src);
    });
  return tests.flatMap(({ src, protocols, shownProtocol, accept, deny }) => {
    const results = ({ selector, port }: Target): readonly boolean[] =>
      partiesOf(src, devices).flatMap((from) => partiesOf(selector, devices).map((to) => reaches(from, to, { protocols, port })));
    const say = (text: string, want: string, got: string): string =>
      `address "${text}"${shownProtocol === '' ? '' : ` (${shownProtocol})`}: want: ${want}, got: ${got}`;
    const errors = [
      ...accept.filter((target) => results(target).length === 0 || results(target).includes(false)).map(({ text }) => say(text, 'Accept', 'Drop')),
      ...deny.filter((target) => results(target).includes(true)).map(({ text }) => say(text, 'Drop', 'Accept')),
    ];
    return errors.length === 0 ? [] : [{ user: src.text, errors }];
  });
}

const letsIn = (users: readonly string[], user: string): boolean => users.includes(user) || (user !== 'root' && users.includes('autogroup:nonroot'));

/** The same for `sshTests`: `accept` is met by a rule of either action, `check` by one that checks. */
export function failingSshTests(
  tests: readonly SshTest[],
  { rules, devices }: { readonly rules: readonly SshRule[]; readonly devices: readonly PolicyDevice[] },
): readonly FailedTest[] {
  const way = (src: Party, dst: Party, user: string): 'Accept' | 'Check' | 'Drop' => {
    const found = rules.find((rule) => !rule.isBound && letsIn(rule.users, user) && leads(rule.src, src, src) && leads(rule.dst, dst, src));
    return found === undefined ? 'Drop' : found.isChecked ? 'Check' : 'Accept';
  };
  return tests.flatMap(({ src, dst, accept, deny, check }) => {
    const faults = (users: readonly string[], want: string, isMet: (got: string) => boolean): readonly string[] =>
      users.flatMap((user) =>
        dst.flatMap((to) =>
          partiesOf(src, devices)
            .flatMap((from) => partiesOf(to, devices).map((at) => way(from, at, user)))
            .filter((got) => !isMet(got))
            .map((got) => `user "${user}" at "${to.text}": want: ${want}, got: ${got}`),
        ),
      );
    const errors = [
      ...faults(accept, 'Accept', (got) => got !== 'Drop'),
      ...faults(deny, 'Drop', (got) => got === 'Drop'),
      ...faults(check, 'Check', (got) => got === 'Check'),
    ];
    return errors.length === 0 ? [] : [{ user: src.text, errors }];
  });
}
