import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type GuardInput, guardRules, guardScript, PREFERENCES, userspaceGuardScript } from '../src/domain/guard.ts';

const input: GuardInput = {
  allowedNetworks: ['10.0.0.0/8', '192.168.0.0/16', 'fd00:1::/64'],
  blockedNetworks: ['169.254.0.0/16'],
  accessPolicy: 'restrictive',
  ranges: { pods: ['10.244.0.0/24'], services: ['10.96.0.0/16'], nodes: ['10.250.0.1/32'] },
  servedPorts: [
    { protocol: 'tcp', port: 8080 },
    { protocol: 'udp', port: 53 },
  ],
  directAddresses: [],
};

/** What a destination meets first, as the kernel walks the chain: an independent reading of the rules. */
function firstAction(address: string, rules = guardRules(input)): string {
  const bits = (text: string): number => text.split('.').reduce((value, part) => value * 256 + Number(part), 0);
  for (const { family, selector, action } of rules) {
    if (family !== 4) continue;
    if (selector === 'from all') return action;
    const [network = '', length = '32'] = selector.replace('to ', '').split('/');
    if (!selector.startsWith('to ')) continue;
    const size = 2 ** (32 - Number(length));
    if (Math.floor(bits(address) / size) === Math.floor(bits(network) / size)) return action;
  }
  return 'next table';
}

describe('guard', () => {
  it('lies below every rule of tailscaled', () => {
    for (const preference of Object.values(PREFERENCES)) expect(preference).toBeLessThan(5210);
  });

  it.each([
    ['a Service inside an allowed range', '10.96.0.10', 'lookup main'],
    ['a pod inside an allowed range', '10.244.0.7', 'lookup main'],
    ['a node inside an allowed range', '10.250.0.1', 'lookup main'],
    ['a customer address', '10.1.0.10', 'lookup 52'],
    ['a tailnet address', '100.64.0.9', 'lookup 52'],
    ['a blocked address', '169.254.169.254', 'prohibit'],
    ['the Internet', '203.0.113.5', 'lookup main'],
  ])('%s meets %s -> %s', (_, address, action) => {
    expect(firstAction(address)).toBe(action);
  });

  it('fails closed: what table 52 does not route is prohibited, not sent in clear', () => {
    const withoutDaemon = guardRules(input).filter(({ action }) => action !== 'lookup 52');
    expect(firstAction('10.1.0.10', withoutDaemon)).toBe('prohibit');
    expect(firstAction('100.64.0.9', withoutDaemon)).toBe('prohibit');
    expect(firstAction('203.0.113.5', withoutDaemon)).toBe('lookup main');
  });

  it('permissive leaves the rest to the daemon', () => {
    expect(firstAction('203.0.113.5', guardRules({ ...input, accessPolicy: 'permissive' }))).toBe('next table');
  });

  it('is the same text for the same facts in any order', () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray([...input.allowedNetworks], { minLength: 3 }),
        fc.shuffledSubarray([...input.servedPorts], { minLength: 2 }),
        (allowedNetworks, servedPorts) => {
          expect(guardScript({ ...input, allowedNetworks, servedPorts })).toBe(guardScript(input));
        },
      ),
    );
  });

  it('is a program that a POSIX shell accepts', () => {
    const checked = spawnSync('sh', ['-n'], { input: guardScript(input), encoding: 'utf8' });
    expect(checked.stderr).toBe('');
    expect(checked.status).toBe(0);
  });

  it.each([
    ['the only one of its node', '10.250.0.1', '10.250.0.1', 1],
    ['one of both families of its node', '10.250.0.1,fd00::1', 'fd00::1,10.250.0.1', 1],
    ['its own', '10.244.0.7', '10.250.0.1', 0],
    ['its own, in both families', '10.244.0.7,fd01::7', '10.250.0.1,fd00::1', 0],
    ['its own, in which the node’s is a part of the text', '10.250.0.11,110.250.0.1', '10.250.0.1', 0],
  ])('a pod whose address is %s: %s on %s ends with %i, before anything is touched', (_, podIps, hostIps, status) => {
    const script = guardScript(input);
    const beginning = script.slice(0, script.indexOf('export LC_ALL'));
    expect(beginning).toBe(userspaceGuardScript());
    const ended = spawnSync('sh', ['-c', beginning], { env: { POD_IPS: podIps, HOST_IPS: hostIps }, encoding: 'utf8' });
    expect(ended.status).toBe(status);
    expect(ended.stderr).toBe(status === 0 ? '' : 'bifrost-guard: this pod uses the network of its node: remove hostNetwork\n');
  });

  it('writes the chain as in the golden file', async () => {
    await expect(guardScript(input)).toMatchFileSnapshot('./golden/guard.sh');
  });
});
