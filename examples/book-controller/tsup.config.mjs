import { modules } from '../../scripts/tsup-modules.mjs';

export default { ...modules, entry: { main: 'src/main.ts' } };
