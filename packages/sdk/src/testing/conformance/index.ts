/**
 * One suite per port, for adapters of your own. Needs vitest.
 *
 * @module @bifrost/sdk/testing/conformance
 */
export * from './audit-sink.ts';
export * from './clock.ts';
export * from './cluster.ts';
export * from './control-plane.ts';
export * from './local-api.ts';
export * from './logger.ts';
export * from './store.ts';
