/** Time limits of the adapters, shortened so that what hangs is given up soon, and what was missed is found soon. */
export const SHORT_LIMITS = { kubernetes: { timeoutMs: 2_000, relistMs: 4_000 }, control: { timeoutMs: 2_000 } };
/** What the loop may ask for one customer per minute while nothing goes through. A hot loop would ask thousands of times. */
export const MOST_CALLS_PER_MINUTE = 600;
/** So many of them must have been asked and met by the fault: a limit holds easily where nothing is tried. */
export const LEAST_FAULTED_CALLS = 5;
/** What another customer's attach may take more than without the fault. */
export const MOST_DELAY_MS = 3_000;
export const RECOVERS_WITHIN_MS = 40_000;
