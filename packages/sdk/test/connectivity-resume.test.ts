import { CONNECTIVITY_WORDS } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Monitored, next, told, WORDS, type Word } from './support/history.ts';

type Happening = { readonly customer: string; readonly word: Word };
type Step =
  | { readonly kind: 'happen'; readonly events: readonly Happening[] }
  | { readonly kind: 'read'; readonly meanwhile: readonly Happening[] }
  | { readonly kind: 'leave' };

describe('streams that break and resume', () => {
  const customer = fc.constantFrom('acme', 'globex', 'initech');
  const happening = fc.record({ customer, word: fc.constantFrom(...WORDS) });
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('happen' as const), events: fc.array(happening, { maxLength: 6 }) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('read' as const), meanwhile: fc.array(happening, { maxLength: 3 }) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'leave' as const }) },
  );
  const filter = fc.record(
    {
      tailnetName: customer,
      customerIds: fc.uniqueArray(customer),
      sidecarId: customer.map((name) => `sidecar-${name}`),
      eventTypes: fc.uniqueArray(fc.constantFrom('connected' as const, 'disconnected' as const, 'error' as const), { minLength: 1 }),
    },
    { requiredKeys: [] },
  );

  it('whatever happens, is filtered, and breaks: what they give together is the whole, once and in order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), filter, async (steps, wanted) => {
        const monitored = new Monitored(600);
        const [whole, got]: [string[], string[]] = [[], []];
        let count = 0;
        const happen = (events: readonly Happening[]): void => {
          for (const { customer: name, word } of events) {
            monitored.happen(name, word);
            const passes =
              (wanted.tailnetName ?? name) === name &&
              (wanted.customerIds ?? [name]).includes(name) &&
              (wanted.sidecarId ?? `sidecar-${name}`) === `sidecar-${name}` &&
              (wanted.eventTypes ?? [CONNECTIVITY_WORDS[word]]).includes(CONNECTIVITY_WORDS[word]);
            if (passes) whole.push(String(count));
            count += 1;
          }
        };
        let stream = monitored.open({ ...wanted, heartbeatMs: 1_000 });
        let resumeToken = (await next(stream)).resumeToken ?? '';
        const read = async (meanwhile: readonly Happening[] = []): Promise<boolean> => {
          const reading = next(stream);
          happen(meanwhile);
          await monitored.clock.advance(1_000); // a heartbeat says that there is no more
          const item = await reading;
          resumeToken = item.resumeToken ?? '';
          if (told(item) !== '-') got.push(told(item));
          return told(item) !== '-';
        };
        const leave = async (): Promise<void> => {
          await stream.return?.();
          stream = monitored.open({ ...wanted, resumeToken, heartbeatMs: 1_000 });
        };
        for (const each of steps) {
          if (each.kind === 'happen') happen(each.events);
          else if (each.kind === 'read') await read(each.meanwhile);
          else await leave();
        }
        await leave();
        while (await read());
        expect(got).toEqual(whole);
        await stream.return?.();
        expect(monitored.clock.sleepers).toBe(0);
      }),
      { numRuns: 150 },
    );
  });
});
