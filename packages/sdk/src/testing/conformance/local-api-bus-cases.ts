import { describe, expect, it, vi } from 'vitest';
import type { LocalApiBench } from './local-api.ts';
import { followBus, type StatusJson } from './local-api-wire.ts';

const [STATE, PREFS, HEALTH, RATE_LIMIT, PEER_CHANGES, INITIAL_STATUS, PEER_STATES] = [2, 4, 128, 256, 4096, 16_384, 262_144];
const UNKNOWN_BIT = 2 ** 40;
const soon = { timeout: 10_000, interval: 20 };

/** The bus: which masks it takes, how it begins, what it tells. */
export function describeLocalApiBus(bench: () => LocalApiBench): void {
  const follow = (mask: number | string) => followBus(bench().daemon.socketPath, mask);

  describe('the bus', () => {
    it.each<readonly [string, string]>([
      ['no number', 'x'],
      ['a negative one', '-1'],
      ['a number of another kind', '1e3'],
      ['more than 64 bits', '18446744073709551616'],
      ['a bit that is for its own process only', '65536'],
      ...[4096, 8192, 16_384, 32_768].map((bit) => [`rate limit with bit ${bit}`, String(RATE_LIMIT | bit)] as const),
    ])('A50: a mask with %s: 400', async (_, mask) => {
      expect(await bench().ask(`watch-ipn-bus?mask=${mask}`)).toMatchObject({
        status: 400,
        headers: { 'content-type': 'text/plain; charset=utf-8' },
      });
    });

    it('A51: begins with what the mask asks for, and with null for the rest', async () => {
      using bus = await follow(STATE | HEALTH);
      await vi.waitFor(() => expect(bus.messages).not.toEqual([]), soon);
      expect(bus.messages[0]).toMatchObject({ State: 6, ErrMessage: null, Prefs: null, NetMap: null, Engine: null, BrowseToURL: null });
      expect(bus.messages[0]).toMatchObject({
        Version: expect.any(String),
        SessionID: expect.stringMatching(/^[0-9a-f]{16}$/),
        Health: expect.any(Object),
      });
      expect(bus.messages[0]).not.toHaveProperty('InitialStatus');
    });

    it('A52: settings and the whole status, when asked for', async () => {
      const { json } = bench();
      using bus = await follow(PREFS | INITIAL_STATUS);
      await vi.waitFor(() => expect(bus.messages).not.toEqual([]), soon);
      const { Self: self } = await json<StatusJson>('status?peers=false');
      expect(bus.messages[0]).toMatchObject({ State: null, Prefs: { WantRunning: true }, InitialStatus: { Self: { ID: self.ID } } });
      expect(bus.messages[0]).not.toHaveProperty('Health');
    });

    it.each([
      ['health alone', HEALTH],
      ['a bit that nobody knows', UNKNOWN_BIT],
      ['no bit at all', ''],
    ])('A53: %s: the stream opens at once, without a first message', async (_, mask) => {
      using bus = await follow(mask);
      using other = await follow(STATE);
      await vi.waitFor(() => expect(other.messages).not.toEqual([]), soon); // had it a first message, it would have come by now
      // Changes reach every watcher, whenever they happen; only a first message has a session.
      expect([bus.status, bus.messages.filter(({ SessionID }) => SessionID !== undefined)]).toEqual([200, []]);
    });

    it('A54: bits that it does not know are ignored, and those that it knows count', async () => {
      using bus = await follow(UNKNOWN_BIT + STATE);
      await vi.waitFor(() => expect(bus.messages[0]).toMatchObject({ State: 6 }), soon);
    });

    it('A55: sessions count as a first message', async () => {
      using bus = await follow(PEER_STATES | HEALTH);
      await vi.waitFor(() => expect(bus.messages[0]).toMatchObject({ State: null, Health: {} }), soon);
    });

    it('A56: tells each watcher of a change, whatever its mask', async () => {
      using plain = await follow(0);
      using deltas = await follow(STATE | PEER_CHANGES);
      const hostname = `renamed-${crypto.randomUUID().slice(0, 8)}`;
      await bench().daemon.rename(hostname);
      for (const bus of [plain, deltas])
        await vi.waitFor(
          () => expect(bus.messages).toContainEqual(expect.objectContaining({ Prefs: expect.objectContaining({ Hostname: hostname }) })),
          soon,
        );
      await vi.waitFor(() => expect(deltas.messages.some(({ SelfChange }) => SelfChange !== undefined)).toBe(true), soon);
    });
  });
}
