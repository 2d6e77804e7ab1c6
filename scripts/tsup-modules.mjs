/** How ES module packages are built. `node22` lowers `using`; declarations come from `tsc -b`. */
export const modules = { format: 'esm', platform: 'node', target: 'node22', sourcemap: true, splitting: true };
