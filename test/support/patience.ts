import { vi } from 'vitest';

/** Instead of one second, which is little for what waits while other processes have the machine. Who states a time has that. */
const PATIENCE_MS = 10_000;

const { waitFor } = vi;
vi.waitFor = (callback, options = PATIENCE_MS) => waitFor(callback, options);
