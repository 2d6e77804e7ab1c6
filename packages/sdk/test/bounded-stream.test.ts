import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { boundedStream } from '../src/manager/bounded-stream.ts';

/** A source that knows its readers. */
class Source<T> {
  readonly readers = new Set<(item: T) => void>();
  readonly subscribe = (push: (item: T) => void): Disposable => {
    this.readers.add(push);
    return { [Symbol.dispose]: () => void this.readers.delete(push) };
  };
  push(...items: readonly T[]): void {
    for (const item of items) for (const reader of this.readers) reader(item);
  }
}

const open = <T>(source: Source<T>, capacity = 4) => {
  const stop = new AbortController();
  return { stop, stream: boundedStream<T>({ signal: stop.signal, capacity, subscribe: source.subscribe }) };
};
const listeners = ({ signal }: AbortController): number => getEventListeners(signal, 'abort').length;

describe('boundedStream', () => {
  it('subscribes at the first next and gives items in order, falsy ones too', async () => {
    const source = new Source<number | undefined>();
    const { stream, stop } = open(source);
    source.push(7);
    const first = stream.next();
    source.push(0, undefined, 2);
    expect([(await first).value, (await stream.next()).value, (await stream.next()).value]).toEqual([0, undefined, 2]);
    expect(listeners(stop)).toBe(1);
  });

  it.each(['break', 'throw', 'return'])('%s leaves nothing behind', async (way) => {
    const source = new Source<number>();
    const { stream, stop } = open(source);
    const read = async (): Promise<void> => {
      for await (const item of stream) {
        if (way === 'throw') throw new RangeError(String(item));
        if (way === 'return') return;
        break;
      }
    };
    const reading = read().catch((error: unknown) => error);
    source.push(1);
    expect((await reading) instanceof RangeError).toBe(way === 'throw');
    expect(source.readers.size).toBe(0);
    expect(listeners(stop)).toBe(0);
  });

  it('abort rejects with the reason itself and leaves nothing behind, waiting or not', async () => {
    for (const waiting of [true, false]) {
      const source = new Source<number>();
      const { stream, stop } = open(source);
      const reason = new RangeError('enough');
      if (!waiting) stop.abort(reason);
      const next = stream.next();
      if (waiting) stop.abort(reason);
      await expect(next).rejects.toBe(reason);
      expect(source.readers.size).toBe(0);
      expect(listeners(stop)).toBe(0);
      expect(await stream.next()).toEqual({ done: true, value: undefined });
    }
  });

  it('a reader that falls behind gets what was kept, then STREAM_OVERFLOW, never a gap', async () => {
    const source = new Source<number>();
    const { stream, stop } = open(source, 3);
    const first = stream.next();
    source.push(1, 2, 3, 4, 5);
    expect((await first).value).toBe(1);
    source.push(6); // there is room again, but 4 is lost already
    expect([(await stream.next()).value, (await stream.next()).value]).toEqual([2, 3]);
    await expect(stream.next()).rejects.toMatchObject({ code: 'STREAM_OVERFLOW', retry: 'backoff' });
    expect(source.readers.size).toBe(0);
    expect(listeners(stop)).toBe(0);
  });

  it('a subscription that fails leaves no listener', async () => {
    const stop = new AbortController();
    const subscribe = (): Disposable => {
      throw new RangeError('no');
    };
    await expect(boundedStream({ signal: stop.signal, capacity: 1, subscribe }).next()).rejects.toThrow(RangeError);
    expect(listeners(stop)).toBe(0);
  });
});
