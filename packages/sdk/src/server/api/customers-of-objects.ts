import { BoundedMap } from '../../domain/bounded-map.ts';
import type { CallerOptions } from '../../manager/manager-core.ts';
import type { NetworkManager } from '../../manager/network-manager.ts';
import { isVisible } from '../../manager/scope.ts';
import type { MethodRule } from '../auth/rules.ts';
import type { Plain } from './convert.ts';
import { text } from './request.ts';

const MAX_KNOWN = 10_000;

/**
 * Whose limit a call takes from. What is remembered may be old, after a name went to another customer: that takes points from the wrong one for a
 * while, and decides nothing else.
 */
export class CustomersOfObjects {
  readonly #manager: NetworkManager;
  readonly #known = new BoundedMap<string, string>(MAX_KNOWN);

  constructor(manager: NetworkManager) {
    this.#manager = manager;
  }

  /** Undefined when it is nobody's in particular, or nothing that the caller may see. */
  async of(rule: MethodRule, request: Plain, options: CallerOptions): Promise<string | undefined> {
    if (rule.about === 'customer' || rule.about === 'list') return text(request, 'customerId') || undefined;
    if (rule.about === 'installation') return undefined;
    const [sidecarId, tailnetName] = [text(request, 'sidecarId'), text(request, 'tailnetName')];
    const name = sidecarId === '' ? `tailnet ${tailnetName}` : `sidecar ${sidecarId}`;
    const known = this.#known.get(name);
    // What is remembered of others' objects must save no read: a foreign id would be answered sooner than one that nobody has.
    if (known !== undefined && isVisible(known, options.scope)) return known;
    const visible = options.scope === undefined ? options : { ...options, scope: { ...options.scope, permitted: options.scope.visible } };
    const read = sidecarId === '' ? this.#manager.getTailnet(tailnetName, visible) : this.#manager.getSidecar(sidecarId, visible);
    const customerId = await read.then(
      (found) => found.customerId,
      () => undefined, // the call itself tells why
    );
    if (customerId !== undefined) this.#known.set(name, customerId);
    return customerId;
  }
}
