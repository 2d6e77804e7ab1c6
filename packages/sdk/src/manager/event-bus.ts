import type { ManagerEventName, ManagerEvents } from '@bifrost/types/core';
import { EventEmitter } from 'eventemitter3';

export type AnyManagerEvent = { [Name in ManagerEventName]: { readonly name: Name; readonly event: ManagerEvents[Name] } }[ManagerEventName];

/** Delivers events to listeners, each guarded: a listener that throws, or whose promise rejects, is reported and stops nobody. */
export class EventBus {
  readonly #emitter = new EventEmitter<ManagerEventName | 'any' | 'changed'>();
  readonly #onListenerError: (name: ManagerEventName, error: unknown) => void;

  constructor(onListenerError: (name: ManagerEventName, error: unknown) => void) {
    this.#onListenerError = onListenerError;
  }

  on<Name extends ManagerEventName>(name: Name, listener: (event: ManagerEvents[Name]) => void): Disposable {
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
