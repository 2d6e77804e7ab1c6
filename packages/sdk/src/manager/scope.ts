import { BifrostError } from '@bifrost/types/core';

/** Customers by name, or all of them, those to come included. */
export type CustomerSet = '*' | ReadonlySet<string>;

/** Whose objects a caller may see, and on whose it may do what it asks for. Judged on the very object that the call then works with. */
export interface CallerScope {
  /** What belongs to others is as if it did not exist. */
  readonly visible: CustomerSet;
  /** What is visible and not in here is refused with `PERMISSION_DENIED`. */
  readonly permitted: CustomerSet;
}

interface Owned {
  readonly spec: { readonly customerId: string };
}

const has = (customers: CustomerSet, customerId: string): boolean => customers === '*' || customers.has(customerId);

const denied = (): BifrostError =>
  new BifrostError({ code: 'PERMISSION_DENIED', message: 'Your role for this customer does not allow this call: ask whoever grants roles.' });

/** What a caller who may not see all is told of a workload that is not there, or is not theirs to know of. */
export const unknownWorkload = (): BifrostError =>
  new BifrostError({
    code: 'WORKLOAD_NOT_FOUND',
    message: 'No workload of this id in a namespace of your customers.',
    issues: [{ path: 'bookDeploymentId', message: 'is not known' }],
  });

export const isVisible = (customerId: string | undefined, scope: CallerScope | undefined): boolean =>
  scope === undefined || scope.visible === '*' || (customerId !== undefined && scope.visible.has(customerId));

interface Asked {
  readonly scope?: CallerScope;
  readonly about?: { customerId?: string };
}

/** The object if the caller may see it; whose it is then goes into the record. @throws {BifrostError} `PERMISSION_DENIED` — it may be seen, and nothing more */
export function inScope<Object extends Owned>(object: Object | undefined, { scope, about }: Asked): Object | undefined {
  if (object === undefined || !isVisible(object.spec.customerId, scope)) return undefined;
  if (about !== undefined) about.customerId = object.spec.customerId;
  requirePermitted(object.spec.customerId, scope);
  return object;
}

/** A customer whom nobody may see and one who does not exist get the same answer. @throws {BifrostError} `PERMISSION_DENIED` */
export function requirePermitted(customerId: string, scope: CallerScope | undefined): void {
  if (scope !== undefined && !has(scope.permitted, customerId)) throw denied();
}
