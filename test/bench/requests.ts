import type { ApiServer } from '../support/api-server.ts';

/** Requests under way at once. */
export const IN_FLIGHT = 16;

/** The body of a success. */
export async function must(api: ApiServer, method: string, path: string, body?: unknown): Promise<unknown> {
  const answer = await api.call(method, path, body);
  if (answer.status > 299) throw new RangeError(`${method} ${path}: HTTP ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** Works on all items, some at once; results in their order. */
export async function inFlight<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<readonly R[]> {
  const rest = [...items.entries()];
  const results: R[] = [];
  const worker = async (): Promise<void> => {
    for (let entry = rest.shift(); entry !== undefined; entry = rest.shift()) results[entry[0]] = await work(entry[1]);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return results;
}
