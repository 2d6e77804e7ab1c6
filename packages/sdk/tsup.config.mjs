import { modules } from '../../scripts/tsup-modules.mjs';

export default {
  ...modules,
  entry: {
    index: 'src/index.ts',
    kubernetes: 'src/kubernetes.ts',
    tailscale: 'src/tailscale.ts',
    'server/index': 'src/server/index.ts',
    'testing/index': 'src/testing/index.ts',
    'cli/main': 'src/cli/main.ts',
    'testing/conformance/index': 'src/testing/conformance/index.ts',
  },
};
