export type * from './audit-sink.ts';
export type * from './clock.ts';
export type * from './cluster.ts';
export type * from './control-plane.ts';
export type * from './logger.ts';
export type * from './store.ts';
