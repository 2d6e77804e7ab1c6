import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { networkInterfaces } from 'node:os';
import { describe, expect, it } from 'vitest';
import { wedgeProbe } from '../src/domain/wedge-probe.ts';

// The probe's own command in a real shell; test/lab/wedged.test.ts has it in real pods, with busybox's tools.
const hasTools = ['sh', 'wget', 'grep', 'timeout'].every((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0);
const probe = wedgeProbe();
const [shell = '', ...rest] = (probe['exec'] as { command: readonly string[] }).command;

/** How the command ends while `answer` is the agent; undefined: nobody is. */
async function exitCode(address: string, answer: RequestListener | undefined): Promise<number> {
  const server = createServer(answer);
  if (answer !== undefined) await once(server.listen(9003, address), 'listening');
  try {
    const child = spawn(shell, rest, { env: { PATH: process.env['PATH'], POD_IP: address, http_proxy: 'http://127.0.0.1:9' }, stdio: 'ignore' });
    const [code] = (await once(child, 'exit')) as [number];
    return code;
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
const says =
  (text: string, status = 200): RequestListener =>
  (request, response) =>
    void response.writeHead(request.url === '/daemon' ? status : 404).end(text);

describe.skipIf(!hasTools)('the liveness probe of the tailscale container', () => {
  const hasIpv6 = Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === '::1'));
  it.each(hasIpv6 ? ['127.9.0.3', '::1'] : ['127.9.0.3'])('fails when the agent at %s says that the daemon is wedged', async (address) => {
    expect(await exitCode(address, says('wedged'))).not.toBe(0);
  });

  const harmless: readonly [string, RequestListener | undefined][] = [
    ['is away', undefined],
    ['says that all is well', says('ok')],
    ['says nothing', says('')],
    ['says more than the word', says('not wedged')],
    ['does not know the path', says('wedged', 404)],
    ['has trouble of its own', says('wedged', 500)],
    ['never answers', () => undefined],
    ['never ends its answer', (_, response) => void response.writeHead(200).write('wed')],
  ];
  it.concurrent.each(harmless.map(([title, answer], index) => [title, `127.9.1.${index + 1}`, answer] as const))(
    'passes when the agent %s, in less time than the kubelet grants',
    async (_, address, answer) => {
      const fromMs = performance.now();
      expect(await exitCode(address, answer)).toBe(0);
      expect(performance.now() - fromMs).toBeLessThan(Number(probe['timeoutSeconds']) * 1_000);
    },
  );

  it('is rare, and stops what hangs quickly', () => {
    expect(probe).toMatchObject({ periodSeconds: 20, failureThreshold: 2, terminationGracePeriodSeconds: 5 });
  });
});
