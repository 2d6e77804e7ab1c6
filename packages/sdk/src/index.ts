export * from '@bifrost/types/core';
export type * from './ports/index.ts';
