import { modules } from '../../scripts/tsup-modules.mjs';

export default { ...modules, entry: { index: 'src/index.ts', 'core/index': 'src/core/index.ts' } };
