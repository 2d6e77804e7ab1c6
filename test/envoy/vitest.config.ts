import { defineConfig } from 'vitest/config';
import unit from '../../vitest.config.ts';
import { MinimumReporter } from '../support/minimum.ts';

export default defineConfig({
  resolve: unit.resolve ?? {},
  test: {
    include: ['test/envoy/*.test.ts'],
    reporters: ['default', new MinimumReporter('envoy')],
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
