/** All of `@bifrost/types/core`, and the zod schemas of every message. */
export * from './core/index.ts';
export * from './schemas/index.ts';
