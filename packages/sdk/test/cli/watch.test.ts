import { BifrostError } from '@bifrost/types/core';
import { ConnectivityEventSchema, GetServiceInfoResponseSchema, type MonitorConnectivityRequest, NetworkManager } from '@bifrost/types/proto';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { connectError } from '../../src/server/api/errors.ts';
import { attach, bifrost, openServed, type Ran } from './support.ts';

const event = (number: number, eventType = 'connected') =>
  create(ConnectivityEventSchema, {
    ...{ tailnetName: 'acme', eventType, timestamp: timestampFromMs(1_767_225_600_000 + number), resumeToken: `token-${number}` },
    details: { state: 'connected', book_deployment_id: `book-${number}` },
  });

type Part = ReturnType<typeof event> | Error | 'wait';

/** A service whose stream goes as each script says, one script per connection; it keeps what it was asked. */
function scripted(scripts: readonly (readonly Part[])[]) {
  const asked: MonitorConnectivityRequest[] = [];
  const transport = createRouterTransport(
    ({ service }) =>
      void service(NetworkManager, {
        getServiceInfo: () => create(GetServiceInfoResponseSchema, { version: '0.1.0' }),
        async *monitorConnectivity(request, { signal }) {
          asked.push(request);
          for (const part of scripts[asked.length - 1] ?? ['wait']) {
            if (part instanceof Error) throw part;
            if (part === 'wait') await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
            else yield part;
          }
        },
      }),
  );
  return { asked, openCluster: async () => ({ transport, isLive: true, place: 'a script', [Symbol.asyncDispose]: async () => {} }) };
}

/** Watches until what was written satisfies `enough`, then interrupts. */
async function watch(
  script: ReturnType<typeof scripted>,
  { argv = [] as readonly string[], enough }: { argv?: readonly string[]; enough: (ran: Omit<Ran, 'code'>) => boolean },
) {
  const interrupted = new AbortController();
  return bifrost(['watch', '--cluster', ...argv], {
    openCluster: script.openCluster,
    signal: interrupted.signal,
    clock: patient(interrupted.signal),
    onWrite: (ran) => enough(ran) && interrupted.abort(),
  });
}

/** Short pauses are over at once; the long one, after which silence counts as a loss, never ends by itself. */
const patient = (interrupted: AbortSignal) => ({
  nowMs: () => 0,
  newId: () => 'an-id',
  random: () => 0,
  sleep: (milliseconds: number, { signal }: { readonly signal: AbortSignal }) =>
    new Promise<void>((resolve, reject) => {
      const end = () => (interrupted.aborted || signal.aborted ? reject(signal.reason) : undefined);
      signal.addEventListener('abort', end, { once: true });
      if (milliseconds < 20_000) setImmediate(resolve);
    }),
});

describe('bifrost watch', () => {
  it('tells events as they come, and ends with 0 when interrupted', async () => {
    const script = scripted([[event(1), event(2, 'disconnected'), 'wait']]);
    const { code, out, err } = await watch(script, {
      argv: ['acme', '--type', 'connected,error', '--sidecar', 's-1'],
      enough: ({ out: text }) => text.includes('book-2'),
    });
    expect([code, err]).toEqual([0, '']);
    expect(out.split('\n')[0]).toBe('2026-01-01T00:00:00.001Z   connected   acme   book-1   (connected)');
    expect(script.asked[0]).toMatchObject({ tailnetName: 'acme', eventTypes: ['connected', 'error'], sidecarId: 's-1', resumeToken: '' });
  });

  it('takes a lost connection up where it was: no event twice, none left out', async () => {
    const lost = new ConnectError('the connection broke', Code.Unavailable);
    const script = scripted([[event(1), event(2), lost], [lost], [event(3), event(4, ''), lost], [event(5), 'wait']]);
    const { code, out, err } = await watch(script, { argv: ['-o', 'json'], enough: ({ out: text }) => text.includes('book-5') });
    const events = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { resume_token: string });
    expect(code).toBe(0);
    expect(events.map(({ resume_token: token }) => token)).toEqual(['token-1', 'token-2', 'token-3', 'token-5']); // the fourth was a heartbeat
    expect(script.asked.map(({ resumeToken }) => resumeToken)).toEqual(['', 'token-2', 'token-2', 'token-4']);
    expect(err).toContain('lost the service, trying again');
  });

  it('says so when events in between are kept no more', async () => {
    const expired = connectError(new BifrostError({ code: 'RESUME_TOKEN_EXPIRED', message: 'too old' }), 'request-9');
    const script = scripted([[expired], [event(9), 'wait']]);
    const { code, err } = await watch(script, { argv: ['--resume', 'old'], enough: ({ out }) => out.includes('book-9') });
    expect([code, err]).toEqual([0, expect.stringContaining('kept no more')]);
    expect(script.asked.map(({ resumeToken }) => resumeToken)).toEqual(['old', '']);
  });

  it('goes on where a reader that was too slow is told to', async () => {
    const overflow = connectError(new BifrostError({ code: 'STREAM_OVERFLOW', message: 'too slow', details: { resumeToken: 'there' } }), 'request-9');
    const script = scripted([
      [event(1), overflow],
      [event(2), 'wait'],
    ]);
    await watch(script, { enough: ({ out }) => out.includes('book-2') });
    expect(script.asked.map(({ resumeToken }) => resumeToken)).toEqual(['', 'there']);
  });

  it('ends with what no other try would mend', async () => {
    const denied = connectError(new BifrostError({ code: 'TAILNET_NOT_FOUND', message: 'none of this name' }), 'request-9');
    const { code, err } = await watch(scripted([[denied]]), { enough: () => false });
    expect([code, err]).toEqual([1, expect.stringContaining('[TAILNET_NOT_FOUND]')]);
  });

  it('shows nothing that a terminal would obey', async () => {
    const hostile = event(1);
    hostile.details['cause'] = '\u001b[2J';
    const { out } = await watch(scripted([[hostile, 'wait']]), { enough: ({ out: text }) => text.includes('book-1') });
    expect(out).not.toContain('\u001b');
  });

  it('follows a real service', async () => {
    await using world = await openServed();
    await attach(world);
    const interrupted = new AbortController();
    const watching = world.bifrost(['watch', '-o', 'yaml'], {
      signal: interrupted.signal,
      clock: patient(interrupted.signal),
      onWrite: () => interrupted.abort(),
    });
    // Until the stream is open nobody hears it: the link goes up and down until somebody has.
    for (let usable = false; !interrupted.signal.aborted; usable = !usable) {
      world.agents.one.node = { usable, backend_state: usable ? 'Running' : 'Starting' };
      await world.run(20_000);
    }
    const { code, out } = await watching;
    expect([code, out]).toEqual([0, expect.stringMatching(/^---\ntailnet_name: acme-corp-production\nevent_type: (?:dis)?connected$/m)]);
  });
});
