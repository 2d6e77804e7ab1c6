/**
 * All of `@bifrost/types/core`, and the zod schemas of every message.
 *
 * @module @bifrost/types
 */
export * from './core/index.ts';
export * from './schemas/index.ts';
