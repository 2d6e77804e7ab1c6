/**
 * What both ends agree on, without zod: all that the agent imports at run time.
 *
 * @module @bifrost/types/core
 */
export * from './cidr.ts';
export * from './errors.ts';
export * from './events.ts';
export * from './firewall.ts';
export * from './guard.ts';
export * from './messages.ts';
export * from './network.ts';
export * from './policy.ts';
export * from './proof.ts';
export * from './quarantine.ts';
export * from './report.ts';
export * from './secret.ts';
export * from './wire.ts';
