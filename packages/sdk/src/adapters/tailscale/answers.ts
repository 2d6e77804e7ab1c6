import { issueWords } from '@bifrost/types';
import { BifrostError, type Issue } from '@bifrost/types/core';
import { z } from 'zod';
import type { Clock } from '../../ports/clock.ts';
import type { ApiAnswer, ApiRequest } from './transport.ts';

const LONGEST_PAUSE_MS = 3_600_000;
const MOST_FAULTS = 20;

/** Milliseconds to wait, from seconds or an HTTP date; at most an hour, whatever the other side says. */
export function retryAfterMs(header: string | undefined, clock: Clock): number | undefined {
  if (header === undefined) return undefined;
  const value = header.trim();
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - clock.nowMs();
  return Number.isNaN(milliseconds) ? undefined : Math.min(Math.max(milliseconds, 0), LONGEST_PAUSE_MS);
}

const Refusal = z.object({
  message: z.string().optional(),
  data: z.array(z.object({ user: z.string().nullish(), errors: z.array(z.string()).nullish() })).nullish(),
});

/** Text of the other side, fit for a message: keys and tokens cut out, one short printable line. */
function clean(text: string): string {
  const shown = text.replace(/tskey-[\w-]*/g, '[secret]').replace(/Bearer\s+\S+/gi, '[secret]');
  return shown.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200);
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the fault of a parser quotes its input, which may hold a key
  }
}

const isErrorBody = (body: unknown): boolean => typeof body === 'object' && body !== null && 'message' in body;

/** What the refusal of a request that we made wrong says; other refusals are told by their status alone. A policy's has an issue for each fault, or one. */
function explanation({ operation }: ApiRequest, { status, text }: ApiAnswer): { readonly said: string; readonly issues: readonly Issue[] } {
  const parsed = status === 400 || status === 422 ? Refusal.safeParse(json(text)) : undefined;
  if (!parsed?.success) return { said: '', issues: [] };
  const faults = (parsed.data.data ?? []).flatMap(({ user, errors }) => (errors ?? []).map((fault) => (user ? `${user}: ${fault}` : fault)));
  const { message = '' } = parsed.data;
  if (faults.length === 0 && operation === 'policy.write') faults.push(message);
  return {
    said: message === '' ? '' : `: ${clean(message)}`,
    issues: faults.slice(0, MOST_FAULTS).map((fault) => ({ path: 'policy', message: clean(fault) })),
  };
}

function judge(request: ApiRequest, { status, text }: ApiAnswer): Pick<BifrostError, 'code'> & { readonly advice: string } {
  if (status === 401) return { code: 'CONTROL_CREDENTIALS_INVALID', advice: 'make a new OAuth client and store it' };
  if (status === 402) return { code: 'CONTROL_QUOTA', advice: 'the plan of this tailnet is full: remove devices or extend the plan' };
  // The API says 404 in JSON. Another 404 says that there is no such API, and must not pass for "already absent".
  if (status === 404 && isErrorBody(json(text))) return { code: 'CONTROL_NOT_FOUND', advice: 'it is not, or no longer, in this tailnet' };
  if (status === 409 || status === 412) return { code: 'CONTROL_CONFLICT', advice: 'read it again and decide anew' };
  if (status === 429) return { code: 'CONTROL_RATE_LIMITED', advice: 'wait before the next call' };
  if (status === 501)
    return { code: 'CONTROL_DENIED', advice: 'the control plane cannot do this, for example with a device shared in from elsewhere' };
  if (status >= 500) return { code: 'CONTROL_UNAVAILABLE', advice: 'try again later' };
  if (status === 403) return { code: 'CONTROL_DENIED', advice: `give the OAuth client the scope ${request.scope}` };
  const isWrong = status === 400 || status === 422;
  if (isWrong && request.operation === 'policy.write') return { code: 'POLICY_REFUSED', advice: 'mend what it names; nothing was changed' };
  if (isWrong) return { code: 'CONTROL_DENIED', advice: 'correct what is sent: tags must be in tagOwners and owned by the OAuth client' };
  return { code: 'CONTROL_ANSWER_INVALID', advice: 'check that baseUrl leads to API v2' };
}

/** Who called: where its credential was set, as a path, and the time. */
export interface Caller {
  readonly credentialPath: string;
  readonly clock: Clock;
}

/** An answer that is not a success, as our error. */
export function refusal(request: ApiRequest, answer: ApiAnswer, { credentialPath, clock }: Caller): BifrostError {
  const { code, advice } = judge(request, answer);
  const { said, issues } = explanation(request, answer);
  const pause = answer.status === 429 || answer.status >= 500 ? retryAfterMs(answer.header('retry-after'), clock) : undefined;
  return new BifrostError({
    code,
    message: `${request.action} was refused (HTTP ${answer.status}${said}); ${advice}`,
    issues: code === 'CONTROL_CREDENTIALS_INVALID' ? [{ path: credentialPath, message: 'is refused by the control plane' }] : issues,
    details: { status: String(answer.status) },
    cause: { status: answer.status, method: request.method, path: request.path },
    ...(pause === undefined ? {} : { retryAfterMs: pause }),
  });
}

function invalid(request: ApiRequest, issues: readonly Issue[]): BifrostError {
  const message = `${request.action}: the answer is not what API v2 sends; check that baseUrl leads to it and that no proxy answers instead`;
  return new BifrostError({ code: 'CONTROL_ANSWER_INVALID', message, issues });
}

/** The answer's JSON, checked. Faults name paths, never values. */
export function readJson<T>(request: ApiRequest, answer: ApiAnswer, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(json(answer.text), { error: issueWords });
  if (parsed.success) return parsed.data;
  throw invalid(
    request,
    parsed.error.issues.slice(0, 10).map(({ path, message }) => ({ path: path.join('.'), message })),
  );
}

/** For calls whose success says nothing, or an object: an error in the body of a 200, or a page of a proxy, is not taken for success. */
export function expectNothing(request: ApiRequest, { text }: ApiAnswer): void {
  if (text.trim() === '') return;
  const body = json(text);
  if (typeof body !== 'object' || Array.isArray(body) || isErrorBody(body)) throw invalid(request, []);
}

/** A policy is HuJSON: an object, maybe after comments. A lone error message or a page is none. */
export function expectPolicy(request: ApiRequest, { text }: ApiAnswer): void {
  const isObject = /^(?:\s|\/\/[^\n]*\n|\/\*[\s\S]*?\*\/)*\{/.test(text);
  if (!isObject || isErrorBody(json(text))) throw invalid(request, []);
}

/** The policy and its etag, without the quotes that HTTP puts around it. */
export function readPolicyText(request: ApiRequest, answer: ApiAnswer): { readonly text: string; readonly etag: string } {
  expectPolicy(request, answer);
  const etag = answer.header('etag');
  if (etag === undefined) throw invalid(request, [{ path: 'etag', message: 'missing' }]);
  return { text: answer.text, etag: /^"(.*)"$/.exec(etag)?.[1] ?? etag };
}
