const TIME_MS = 5_000;
const MAX_BYTES = 4 * 1024 * 1024;

/** What a server answers to a GET. */
export interface Probed {
  readonly status: number;
  readonly dateMs: number | undefined;
  readonly text: string;
}

export type Probe = (url: string, signal: AbortSignal) => Promise<Probed>;

/** One request, within five seconds, no redirects. @throws what hinders it */
export const httpProbe: Probe = async (url, signal) => {
  const answer = await fetch(url, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIME_MS)]),
    redirect: 'manual',
    headers: { 'user-agent': 'bifrost (doctor)' },
  });
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    size += chunk.length;
    if (size > MAX_BYTES) break;
    chunks.push(chunk);
  }
  const dateMs = Date.parse(answer.headers.get('date') ?? '');
  return { status: answer.status, dateMs: Number.isNaN(dateMs) ? undefined : dateMs, text: Buffer.concat(chunks).toString('utf8') };
};
