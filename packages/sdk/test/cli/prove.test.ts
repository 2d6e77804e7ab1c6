import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { attach, bifrost, openServed, type Served } from './support.ts';

describe('bifrost prove', () => {
  let world: Served;
  let folder: string;
  beforeEach(async () => {
    world = await openServed();
    await attach(world);
    folder = await mkdtemp(join(tmpdir(), 'bifrost-proof-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
    await world[Symbol.asyncDispose]();
  });
  const violate = (): Promise<void> => {
    world.manager.setReadOnly(true);
    return world.cluster.createNamespace({ name: 'acme-corp', customerId: 'somebody-else' });
  };

  it('says what is proven, and how far that is to be relied on', async () => {
    const { code, out } = await world.bifrost(['prove']);
    expect([code, out]).toEqual([0, expect.stringMatching(/^apart: 1 customer, 1 tailnet, 1 sidecar, by 7 inputs read at 20/)]);
    expect(out).toMatch(/^guard +cooperative +1 +0$/m);
    expect(out).toMatch(/^network-policy: unproven, network-policies-not-enforced \(1\)$/m);
    const answer = JSON.parse((await world.bifrost(['prove', '-o', 'json'])).out);
    expect(answer).toMatchObject({
      proof: { verdict: 'apart', customers: 1, inputs: expect.arrayContaining([expect.objectContaining({ from: 'store' })]) },
      inputs: [],
    });
  });

  it('ends with 3 when there is a finding, and names it', async () => {
    await violate();
    const { code, out } = await world.bifrost(['prove']);
    expect([code, out]).toEqual([
      3,
      expect.stringMatching(/^foreign-namespace +acme-corp-production +acme-corp +somebody-else +namespace acme-corp /m),
    ]);
  });

  it('keeps a proof that anybody can verify without a service', async () => {
    const file = join(folder, 'proof.json');
    expect((await world.bifrost(['prove', '--save', file])).code).toBe(0);
    expect((await stat(file)).mode & 0o077).toBe(0);
    const { code, out } = await bifrost(['prove', '--verify', file]);
    expect([code, out]).toEqual([0, expect.stringContaining('the proof holds')]);
    const text = await readFile(file, 'utf8');
    expect(text).not.toContain('tskey-');

    const other = join(folder, 'other.json');
    const saved = JSON.parse(text) as { proof: Record<string, unknown>; inputs: { name: string; text: string }[] };
    const flipped = saved.inputs.map((input) =>
      input.name.startsWith('workload') ? { ...input, text: input.text.replace('acme-corp', 'somebody') } : input,
    );
    await writeFile(other, JSON.stringify({ ...saved, inputs: flipped }));
    const altered = await bifrost(['prove', '--verify', other, '-o', 'json']);
    expect([altered.code, JSON.parse(altered.out)]).toEqual([
      3,
      { holds: false, verdict: 'apart', faults: [{ kind: 'input-altered', name: expect.stringMatching(/^workload /) }, { kind: 'other-verdict' }] },
    ]);
    await writeFile(other, JSON.stringify({ ...saved, proof: { ...saved.proof, customers: 2 } }));
    expect((await bifrost(['prove', '--verify', other])).out).toContain('the proof does not hold: altered');
  });

  it('keeps one with findings too: it holds, and ends with 3 all the same', async () => {
    await violate();
    const file = join(folder, 'proof.json');
    expect((await world.bifrost(['prove', '--save', file])).code).toBe(3);
    const { code, out } = await bifrost(['prove', '--verify', file]);
    expect([code, out]).toEqual([3, expect.stringMatching(/^the proof holds[\s\S]*^foreign-namespace/m)]);
  });

  it.each([
    ['no JSON', () => 'nothing'],
    ['empty', () => ''],
    ['without a proof', () => '{}'],
    ['of something else', () => '{"proof": 7}'],
    ['cut off', (text: string) => text.slice(0, text.length / 2)],
    ['of another shape', (text: string) => text.replace('"layers": [', '"layers": [7,')],
    ['of a time that is none', (text: string) => text.replace(/"read_at": "[^"]*"/, '"read_at": "yesterday"')],
  ])('calls a file that is %s a proof that does not hold', async (_, altered) => {
    const file = join(folder, 'proof.json');
    await world.bifrost(['prove', '--save', file]);
    await writeFile(file, altered(await readFile(file, 'utf8')));
    const { code, out, err } = await bifrost(['prove', '--verify', file]);
    expect([code, out, err]).toEqual([3, expect.stringMatching(/^the proof does not hold: the file is no proof as .* has written it\n$/), '']);
    const told = await bifrost(['prove', '--verify', file, '-o', 'json']);
    expect([told.code, JSON.parse(told.out)]).toEqual([3, { holds: false, faults: [{ kind: 'altered' }] }]);
  });

  it.each([
    ['a file that is not there', ['--verify', 'none.json'], undefined],
    ['a folder', ['--verify', '.'], undefined],
    ['both', ['--verify', 'it', '--save', 'it'], '{}'],
    ['a file that cannot be written', ['--save', 'none/it'], undefined],
  ] as const)('refuses %s as a wrong command line', async (_, [option, name, ...rest], content) => {
    if (content !== undefined) await writeFile(join(folder, name), content);
    await chmod(folder, 0o700);
    const { code, err } = await world.bifrost(['prove', option, join(folder, name), ...rest]);
    expect([code, err]).toEqual([2, expect.stringMatching(/--(verify|save): is what to correct/)]);
  });
});
