import { describe, expect, it } from 'vitest';
import { PROXY_VARIABLES } from '../src/domain/proxy-variables.ts';
import { denying, restrictedWorld } from './support/userspace.ts';
import { BOOK, type Opened, refusal } from './support/world.ts';

const USERSPACE = { ...BOOK, config: { ...BOOK.config, networkMode: 'userspace' } } as const;
const KERNEL = { ...BOOK, config: { ...BOOK.config, networkMode: 'kernel' } } as const;
const stored = async (world: Opened) => (await world.sidecars())[0];
const ADVICE = 'For the form that needs no privileges deny egress to the allowed and blocked networks by a NetworkPolicy';

/** Attached and connected: in which mode, and which proxy variables the book has then. */
async function outcome(world: Opened, wish: typeof BOOK = BOOK) {
  await world.manager.attachSidecar(wish);
  await world.until(async () => (await stored(world))?.state.phase === 'connected');
  const [sidecar] = await world.manager.listSidecars();
  const [book] = (await world.cluster.readWorkload(world.book)).spec.containers;
  return { mode: sidecar?.networkMode, variables: (book?.env ?? []).map(({ name }) => name).filter((name) => PROXY_VARIABLES.includes(name)) };
}
const inKernelMode = { mode: 'kernel', variables: [] };
const inUserspaceMode = { mode: 'userspace', variables: expect.arrayContaining(['ALL_PROXY', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'no_proxy']) };

async function refused(world: Opened, wish: typeof BOOK) {
  const before = await world.snapshot([world.book]);
  const error = await refusal(world.manager.attachSidecar(wish));
  expect(await world.snapshot([world.book])).toEqual(before);
  expect(await refusal(world.manager.planAttach(wish))).toMatchObject({ code: error.code });
  return error;
}

describe('networkMode auto', () => {
  it('takes kernel mode where it is admitted, whatever policies there are; under restricted, its twin, userspace mode', async () => {
    await using admitted = await restrictedWorld({ enforce: 'privileged' });
    expect(await outcome(admitted)).toEqual(inKernelMode);
    await using restricted = await restrictedWorld();
    expect(await outcome(restricted)).toEqual(inUserspaceMode);
  });

  it.each([
    ['no policy', { policies: [] }],
    ['a policy that selects other pods', { policies: [{ ...denying(), podSelector: { matchLabels: { app: 'other' } } }] }],
    ['a policy that lets out to a part of an allowed network', { policies: [denying('10.7.0.0/16')] }],
    ['a policy that lets out to a part of the tailnets’ own', { policies: [denying('100.100.0.0/16')] }],
    ['a policy that nobody says is enforced', { settings: {} }],
  ])('under restricted with %s is refused with what to do', async (_, options) => {
    await using world = await restrictedWorld(options);
    const error = await refused(world, BOOK);
    expect(error).toMatchObject({ code: 'POD_SECURITY_FORBIDDEN', issues: [{ path: 'bookDeploymentId' }], details: { level: 'restricted' } });
    expect(error.message).toContain(ADVICE);
    expect(error.message).toContain('networkPolicyEnforced');
  });

  it('a policy that lets out to the cluster’s own addresses is enough', async () => {
    await using world = await restrictedWorld({ policies: [denying('10.96.0.0/12', '10.244.0.0/16', '203.0.113.0/24')] });
    expect(await outcome(world)).toEqual(inUserspaceMode);
  });
});

describe('networkMode userspace', () => {
  it('is taken where clear egress is denied, in a namespace that would admit kernel mode too', async () => {
    await using world = await restrictedWorld({ enforce: 'privileged' });
    expect(await outcome(world, USERSPACE)).toEqual(inUserspaceMode);
  });

  it.each([
    ['no policy', { policies: [] }],
    ['a policy that nobody says is enforced', { settings: {} }],
  ])('with %s is refused: EGRESS_NOT_DENIED', async (_, options) => {
    await using world = await restrictedWorld({ enforce: 'privileged', ...options });
    const error = await refused(world, USERSPACE);
    expect(error).toMatchObject({ code: 'EGRESS_NOT_DENIED', issues: [{ path: 'config.networkMode' }] });
    expect(error.message).toContain('networkPolicyEnforced');
  });
});

describe('networkMode kernel', () => {
  it('under restricted is refused and never becomes userspace mode by itself; where it is admitted it is taken', async () => {
    await using world = await restrictedWorld();
    const error = await refused(world, KERNEL);
    expect(error.code).toBe('POD_SECURITY_FORBIDDEN');
    expect(error.message).not.toContain(ADVICE);
    await using admitted = await restrictedWorld({ enforce: 'privileged' });
    expect(await outcome(admitted, KERNEL)).toEqual(inKernelMode);
  });
});
