import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { customerTagsOf } from '../src/domain/policy/identity-tags.ts';
import { digest } from './policy/worlds.ts';
import { OWN_POLICY, policyOf } from './support/own-policy.ts';
import { ACME, BOOK, BOOK_TAG, World } from './support/world.ts';

const { tailnetName, customerId } = ACME;
const CUSTOMER = customerTagsOf({ customerId, tailnetName }, digest).customer;
const CLIENT_TAG = 'tag:office';

const call = () => ({ signal: AbortSignal.timeout(5_000) });
const stored = async (world: World) => (await world.sidecars())[0];
const connected = (world: World) => async (): Promise<boolean> => (await stored(world))?.state.phase === 'connected';
const secrets = async ({ cluster }: World) => (await cluster.secrets.list(call())).filter(({ namespace }) => namespace === customerId);
const read = (text: string) => parse(text, [], { allowTrailingComma: true });

/** Its client carries the tag of the office: whether that owns the tag of books, the policy says. */
async function open(policy: string, { managePolicy = true } = {}) {
  const world = new World();
  await world.manager.start();
  const { controlId } = await world.addCustomer(customerId, { policy, tags: [CLIENT_TAG] });
  const book = await world.addBook();
  // Joined as the policy of that time let it.
  const machine = world.control.addDevice({ controlId, hostname: 'desk', tags: [CUSTOMER] });
  await world.manager.createTailnet({ ...ACME, managePolicy });
  await world.until(async () => (await world.tailnet())?.state.phase === 'active');
  await world.manager.attachSidecar(BOOK);
  return Object.assign(world, { book, machine });
}
const ownedBy = (owner: string, policy: string): string => policy.replace(`"${BOOK_TAG}": ["autogroup:admin"]`, `"${BOOK_TAG}": ["${owner}"]`);

describe('a customer’s OAuth client', () => {
  it('that does not own the tags of books: no key, no Secret, no fragment, and the status names the tags; as soon as it does, the sidecar goes on', async () => {
    await using world = await open(OWN_POLICY);
    await world.until(async () => (await stored(world))?.state.phase === 'failed');
    await world.run(180_000);
    const [sidecar] = await world.manager.listSidecars();
    expect(sidecar).toMatchObject({ status: 'failed', reason: { code: 'CONTROL_DENIED', message: expect.stringContaining(BOOK_TAG) } });
    expect(await policyOf(world).text()).toContain(CUSTOMER); // the policy itself may be written
    expect([world.control.keys(), await secrets(world), (await stored(world))?.state.keys]).toEqual([[], [], []]);
    expect((await world.cluster.readWorkload(world.book)).spec.initContainers ?? []).toEqual([]);
    await policyOf(world).edit((text) => ownedBy(CLIENT_TAG, text));
    await world.until(connected(world), { limitMs: 600_000 });
    expect(world.control.keys().map(({ tags }) => tags)).toEqual([[BOOK_TAG, CUSTOMER, expect.any(String)]]);
    expect(await secrets(world)).toHaveLength(1);
  });

  it('that owns them by its own tag: connects at once', async () => {
    await using world = await open(ownedBy(CLIENT_TAG, OWN_POLICY));
    await world.until(connected(world));
    expect(await secrets(world)).toHaveLength(1);
  });
});

describe('an identity tag of ours that the customer’s policy gives to machines of its own', () => {
  const theirs = ['autogroup:admin', CLIENT_TAG];
  const taken = (text: string): string => text.replace('"tag:office": []', `"tag:office": [], "${CUSTOMER}": ${JSON.stringify(theirs)}`);
  const POLICY = taken(ownedBy(CLIENT_TAG, OWN_POLICY));
  const ownersIn = async (world: World) => read(await policyOf(world).text()).tagOwners;

  it('is owned by our tags alone as soon as we keep the policy: nobody else’s machine can take it any more; what carries it is left', async () => {
    await using world = await open(POLICY);
    await world.until(connected(world));
    expect(await ownersIn(world)).toMatchObject({ [CUSTOMER]: [BOOK_TAG], 'tag:office': [], [BOOK_TAG]: [CLIENT_TAG] });
    expect(world.names('policy:')).toEqual([]); // what was there before us is nobody's edit
    await world.manager.detachSidecar((await stored(world))?.spec.sidecarId ?? '');
    await world.until(async () => (await stored(world)) === undefined);
    await world.manager.deleteTailnet(tailnetName);
    await world.until(async () => (await world.tailnet()) === undefined);
    expect(world.control.devices().map(({ deviceId }) => deviceId)).toEqual([world.machine.deviceId]);
    expect(await ownersIn(world)).not.toHaveProperty(CUSTOMER);
  });

  it('given to them later: is taken back, and told as drift', async () => {
    await using world = await open(ownedBy(CLIENT_TAG, OWN_POLICY));
    await world.until(connected(world));
    await policyOf(world).edit((text) => text.replace(`"${CUSTOMER}": ["${BOOK_TAG}"]`, `"${CUSTOMER}": ${JSON.stringify(theirs)}`));
    expect((await ownersIn(world))[CUSTOMER]).toEqual(theirs);
    await world.until(async () => (await ownersIn(world))[CUSTOMER].length === 1);
    expect((await ownersIn(world))[CUSTOMER]).toEqual([BOOK_TAG]);
    await world.quiet();
    expect(world.names('policy:')).toEqual(['policy:drifted']);
  });

  it('where we do not keep the policy: stays to the letter, and no book carries it', async () => {
    await using world = await open(POLICY, { managePolicy: false });
    await world.until(connected(world));
    await world.run(120_000);
    expect(await policyOf(world).text()).toBe(POLICY);
    expect(
      world.control
        .devices()
        .filter(({ tags }) => tags.includes(CUSTOMER))
        .map(({ hostname }) => hostname),
    ).toEqual(['desk']);
  });
});
