/** Operations that no life of the crash campaign reaches, each with the reason. One that is reached all the same fails the run. */
export const EXEMPT: ReadonlyMap<string, string> = new Map([
  ['kubernetes networkpolicies.list', 'asked only where a sidecar has no guard: userspace mode'],
  ['kubernetes jobs.get', 'the owner walk of a Job of a CronJob: both carry their sidecar from their creator'],
]);
