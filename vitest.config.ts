import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { MinimumReporter } from './test/support/minimum.ts';

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    // Tests read the sources of all packages: no stale build can pass.
    alias: [
      { find: /^@bifrost\/types\/core$/, replacement: source('packages/types/src/core/index.ts') },
      { find: /^@bifrost\/types\/proto$/, replacement: source('packages/types/src/proto.ts') },
      { find: /^@bifrost\/types$/, replacement: source('packages/types/src/index.ts') },
      { find: /^@bifrost\/sdk$/, replacement: source('packages/sdk/src/index.ts') },
      { find: /^@bifrost\/sdk\/kubernetes$/, replacement: source('packages/sdk/src/kubernetes.ts') },
      { find: /^@bifrost\/sdk\/tailscale$/, replacement: source('packages/sdk/src/tailscale.ts') },
      { find: /^@bifrost\/sdk\/server$/, replacement: source('packages/sdk/src/server/index.ts') },
      { find: /^@bifrost\/sdk\/testing$/, replacement: source('packages/sdk/src/testing/index.ts') },
      { find: /^@bifrost\/sdk\/testing\/conformance$/, replacement: source('packages/sdk/src/testing/conformance/index.ts') },
    ],
  },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'examples/*/test/**/*.test.ts', 'test/*.test.ts'],
    reporters: ['default', new MinimumReporter('unit')],
    setupFiles: [source('test/support/patience.ts')],
    expect: { poll: { timeout: 10_000 } },
    // What hangs. A test that measures time states it.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
