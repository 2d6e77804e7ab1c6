import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { buildAgent } from './support/agent-process.ts';
import { managedPod } from './support/managed-pod.ts';

const folder = mkdtempSync(join(tmpdir(), 'bifrost-outage-'));
let agentProgram = '';
beforeAll(async () => {
  agentProgram = await buildAgent(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Instead of ten seconds. */
const HEARTBEAT_MS = 100;
/** More than the agent keeps. The agent reads five times a second at most: they take eight seconds, which stand for some ten minutes. */
const CHANGES = 40;
const MIB = 1024 * 1024;

/** Linux: memory of the process that cannot be reclaimed; undefined elsewhere. */
function anonymousBytes(pid: number): number | undefined {
  try {
    return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
  } catch {
    return undefined;
  }
}

type World = Awaited<ReturnType<typeof managedPod>>;

/** Notes the seq of each report that reaches the door, and may lose the answer to a change: it is taken, and the agent never hears of it. */
function listenAtTheDoor({ door }: World) {
  const state = { seqs: [] as number[], loseAnswer: false, lostSeq: undefined as number | undefined };
  const { handle } = door;
  door.handle = (incoming: IncomingMessage, response: ServerResponse) => {
    let body = '';
    incoming.on('data', (chunk: Buffer) => {
      body += chunk.toString('latin1');
    });
    incoming.on('end', () => {
      const { seq, reason } = JSON.parse(body) as { seq: number; reason: string };
      state.seqs.push(seq);
      if (!state.loseAnswer || reason !== 'change') return;
      Object.assign(state, { loseAnswer: false, lostSeq: seq });
      const { end } = response;
      response.end = (...given: unknown[]) => {
        incoming.socket.destroy();
        return Reflect.apply(end, response, given);
      };
    });
    handle(incoming, response);
  };
  return state;
}

describe('ten minutes without a manager, at a hundredth of their length', () => {
  it('memory stays, and afterwards all is told in order and nothing counts twice', async () => {
    await using world = await managedPod({ agentProgram, heartbeatMs: HEARTBEAT_MS });
    const { manager, door, pod, tailnetName, routerId } = world;
    const { tailscaled } = pod;
    const at = listenAtTheDoor(world);
    const passed = { rx: 0, tx: 0 };
    const traffic = (rx: number, tx: number) => {
      tailscaled.addTraffic(routerId, rx, tx);
      passed.rx += rx;
      passed.tx += tx;
    };
    const isCounted = async () => {
      const { metrics } = await manager.getNetworkStatus(tailnetName);
      expect([metrics.bytesReceived, metrics.bytesSent]).toEqual([passed.rx, passed.tx]);
    };
    traffic(1_000, 500);
    await vi.waitFor(isCounted, 10_000);
    const agentPid = pod.agentPid ?? 0;
    const before = anonymousBytes(agentPid);
    await door.close();
    const lastSeq = at.seqs.at(-1) ?? Number.NaN;

    for (let change = 0; change < CHANGES; change += 1) {
      const reads = tailscaled.requests('status');
      traffic(100, 10);
      tailscaled.setHealth([`trouble-${change}`]); // worth a report of its own
      await vi.waitFor(() => expect(tailscaled.requests('status')).toBeGreaterThan(reads), 5_000);
    }
    const after = anonymousBytes(agentPid);
    if (before !== undefined && after !== undefined) expect(after - before).toBeLessThan(4 * MIB);
    at.seqs.length = 0;
    await door.open();

    await vi.waitFor(isCounted, 20_000);
    await vi.waitFor(() => expect(at.seqs.length).toBeGreaterThan(40), 20_000); // what was kept, and heartbeats after it
    const told = [...at.seqs];
    expect(told[0]).toBeGreaterThan(lastSeq);
    expect(told).toEqual([...new Set(told)].sort((a, b) => a - b));
    expect(told.some((seq, index) => index > 0 && seq > (told[index - 1] ?? 0) + 1)).toBe(true); // what had no room is missing

    at.loseAnswer = true;
    traffic(7, 7);
    tailscaled.setHealth(['told-twice']);
    await vi.waitFor(() => expect(at.seqs.filter((seq) => seq === at.lostSeq)).toHaveLength(2), 10_000);
    await isCounted();
    expect(pod.agentPid).toBe(agentPid);
  }, 60_000);
});
