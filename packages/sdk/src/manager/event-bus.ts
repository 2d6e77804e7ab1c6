import type { ManagerEventName, ManagerEvents } from '@bifrost/types/core';
import { EventEmitter } from 'eventemitter3';
import { refuseFor } from './given.ts';

export type AnyManagerEvent = { [Name in ManagerEventName]: { readonly name: Name; readonly event: ManagerEvents[Name] } }[ManagerEventName];

/** All of them: a name that is none would be listened for in vain. */
const NAMES: Readonly<Record<ManagerEventName, true>> = {
  ...{ 'tailnet:created': true, 'tailnet:activated': true, 'tailnet:failed': true, 'tailnet:deleted': true },
  ...{ 'policy:drifted': true, 'isolation:violated': true, 'upgrade:started': true, 'upgrade:finished': true, 'upgrade:halted': true },
  ...{ 'sidecar:attached': true, 'sidecar:failed': true, 'sidecar:updated': true, 'sidecar:reverted': true, 'sidecar:drifted': true },
  ...{ 'sidecar:quarantined': true, 'sidecar:readmitted': true, 'sidecar:detached': true, 'workload:refused': true },
  ...{ 'instance:connected': true, 'instance:degraded': true, 'instance:disconnected': true, 'instance:lost': true, 'instance:removed': true },
};

export const EVENT_NAMES = Object.keys(NAMES) as readonly ManagerEventName[];

/** Delivers events to listeners, each guarded: a listener that throws, or whose promise rejects, is reported and stops nobody. */
export class EventBus {
  readonly #emitter = new EventEmitter<ManagerEventName | 'any' | 'changed'>();
  readonly #onListenerError: (name: ManagerEventName, error: unknown) => void;

  constructor(onListenerError: (name: ManagerEventName, error: unknown) => void) {
    this.#onListenerError = onListenerError;
  }

  on<Name extends ManagerEventName>(name: Name, listener: (event: ManagerEvents[Name]) => void): Disposable {
    refuseFor([
      ...(typeof name === 'string' && Object.hasOwn(NAMES, name) ? [] : [{ path: 'name', message: 'is no event of a manager' }]),
      ...(typeof listener === 'function' ? [] : [{ path: 'listener', message: 'must be a function' }]),
    ]);
    const guarded = (event: ManagerEvents[Name]): void => this.#guard(name, () => listener(event));
    this.#emitter.on(name, guarded);
    return { [Symbol.dispose]: () => void this.#emitter.off(name, guarded) };
  }

  onAny(listener: (happened: AnyManagerEvent) => void): Disposable {
    const guarded = (happened: AnyManagerEvent): void => this.#guard(happened.name, () => listener(happened));
    this.#emitter.on('any', guarded);
    return { [Symbol.dispose]: () => void this.#emitter.off('any', guarded) };
  }

  emit<Name extends ManagerEventName>(name: Name, event: ManagerEvents[Name]): void {
    this.#emitter.emit(name, event);
    this.#emitter.emit('any', { name, event });
  }

  /** Calls `listener` when stored state may have changed: a hint for our own waiting, not an event. */
  onChange(listener: () => void): Disposable {
    const own = (): void => listener();
    this.#emitter.on('changed', own);
    return { [Symbol.dispose]: () => void this.#emitter.off('changed', own) };
  }

  changed(): void {
    this.#emitter.emit('changed');
  }

  #guard(name: ManagerEventName, call: () => unknown): void {
    try {
      const result = call();
      // An async listener: its rejection would end the host process.
      if (result instanceof Promise) result.catch((error: unknown) => this.#onListenerError(name, error));
    } catch (error) {
      this.#onListenerError(name, error);
    }
  }
}
