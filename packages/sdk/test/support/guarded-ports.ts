import { BifrostError, type ErrorCode } from '@bifrost/types/core';

/** One call of a port, as a hook sees it. */
export interface PortCall {
  /** e.g. `store.tailnets.get`. */
  readonly name: string;
  /** Counts from 1, over all ports that share the hook. */
  readonly number: number;
}
/**
 * What a hook wants of a call: that it fails before its effect, or that its reply is lost; a function is called between effect and loss. `old`: it is
 * answered so, `refused`: it is refused so, and does nothing.
 */
export type Verdict = 'before' | 'after' | (() => void) | { readonly old: unknown } | { readonly refused: ErrorCode } | undefined;

const UNAVAILABLE: Readonly<Record<string, ErrorCode>> = {
  store: 'STORE_UNAVAILABLE',
  cluster: 'CLUSTER_UNAVAILABLE',
  controlPlane: 'CONTROL_UNAVAILABLE',
};
/** Not calls to the outside, or not ones with an effect: they go through untouched. */
const UNCOUNTED: ReadonlySet<string> = new Set(['watch', 'start']);

/**
 * Stands before a port and asks a hook about each call. Disposing does nothing: the port outlives managers that are thrown away. Everything else goes
 * through.
 */
export class PortGuard {
  #calls = 0;
  readonly names: string[] = [];
  hook: (call: PortCall) => Verdict | Promise<Verdict> = () => undefined;

  /** Lets that happen just before the next call of this name, or whose name ends so, and no more. */
  once(name: string, happens: () => unknown): void {
    this.hook = async (call) => {
      if (!call.name.endsWith(name)) return undefined;
      this.hook = () => undefined;
      await happens();
      return undefined;
    };
  }

  get calls(): number {
    return this.#calls;
  }

  wrap<Port extends object>(port: Port, name: string): Port {
    return new Proxy(port, {
      get: (target, member) => {
        const value: unknown = Reflect.get(target, member, target);
        if (member === Symbol.asyncDispose) return async () => {};
        if (typeof member === 'symbol') return value;
        if (typeof value === 'object' && value !== null) return this.wrap(value, `${name}.${member}`);
        if (typeof value !== 'function') return value;
        const call = (...given: unknown[]): unknown => Reflect.apply(value, target, given);
        if (UNCOUNTED.has(member)) return call;
        if (member === 'tailnet') return (...given: unknown[]) => this.wrap(call(...given) as object, `${name}.tailnet`);
        return (...given: unknown[]) => this.#guarded(`${name}.${member}`, () => call(...given));
      },
    });
  }

  async #guarded(name: string, call: () => unknown): Promise<unknown> {
    this.#calls += 1;
    this.names.push(name);
    const verdict = await this.hook({ name, number: this.#calls });
    const code = UNAVAILABLE[name.split('.')[0] ?? ''] ?? 'INTERNAL';
    if (verdict === 'before') throw new BifrostError({ code, message: 'injected before the effect' });
    if (typeof verdict === 'object' && 'refused' in verdict) throw new BifrostError({ code: verdict.refused, message: 'injected refusal' });
    if (typeof verdict === 'object') return verdict.old;
    const result = await call();
    if (verdict === undefined) return result;
    if (typeof verdict === 'function') verdict();
    throw new BifrostError({ code, message: 'injected after the effect: the reply is lost' });
  }
}
