import { pause } from '../../support/pause.ts';
import { type Exchange, endToEnd, type Given, type Side, type Treatment } from './exchange.ts';
import { stale } from './stale.ts';
import { watchFault } from './watch-faults.ts';

/** One way in which an answer goes wrong, and what the manager makes of it. */
export interface Fault {
  readonly name: string;
  readonly sides: readonly Side[];
  /** A treatment for one run of the fault: some remember what they have seen. */
  readonly begin: () => (exchange: Exchange) => Treatment | undefined;
  /** What a call answers while the API server is so; undefined: it is answered. */
  readonly kubernetes: string | undefined;
  /** What the sidecar's reason says while the control plane is so. */
  readonly control: string | undefined;
}

const MESSAGE = 'injected by the fault proxy';
const JSON_TYPE = { 'content-type': 'application/json' };

/** A refusal in the form of that side. */
function refusal(side: Side, { code, reason, retryAfter }: { readonly code: number; readonly reason: string; readonly retryAfter?: number }): string {
  const details = retryAfter === undefined ? {} : { details: { retryAfterSeconds: retryAfter } };
  return JSON.stringify(
    side === 'control'
      ? { message: MESSAGE }
      : { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', reason, code, message: MESSAGE, ...details },
  );
}

/** Refused before it had any effect. */
const refused =
  (code: number, reason: string, retryAfter?: number): Treatment =>
  async ({ exchange, response }) => {
    const headers = retryAfter === undefined ? JSON_TYPE : { ...JSON_TYPE, 'retry-after': String(retryAfter) };
    response.writeHead(code, headers).end(refusal(exchange.side, { code, reason, ...(retryAfter === undefined ? {} : { retryAfter }) }));
  };

const badGateway: Treatment = async ({ response }) => {
  response.writeHead(502, { 'content-type': 'text/html' }).end('<html><body><h1>502 Bad Gateway</h1></body></html>');
};

/** Until the other side leaves. */
const hang: Treatment = async ({ response }) => {
  await new Promise<void>((resolve) => {
    response.on('close', () => resolve());
  });
};

/** A success in its status line only. */
const errorInSuccess: Treatment = async ({ exchange, response }) => {
  response.writeHead(200, JSON_TYPE).end(refusal(exchange.side, { code: 500, reason: 'InternalError' }));
};

const reset: Treatment = async ({ response }) => {
  response.socket?.destroy();
};

/** The effect is there, the answer is not. */
const resetAfterEffect: Treatment = async ({ forward, response }) => {
  await wholeAnswer(forward);
  response.socket?.destroy();
};

/** The effect is there; the answer comes a byte at a time. */
const slowLoris: Treatment = async ({ forward, response }) => {
  const { status, headers, text } = await wholeAnswer(forward);
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(text) || 1 });
  for (const letter of text || ' ') {
    if (response.destroyed) return;
    response.write(letter);
    await pause(100);
  }
  response.end();
};

/** The effect is there; the answer ends in the middle, as if it were whole. */
const truncated: Treatment = async ({ forward, response }) => {
  const { status, headers, text } = await wholeAnswer(forward);
  response.writeHead(status, headers).end(text === '' ? '{' : text.slice(0, Math.ceil(text.length / 2)));
};

const wrongType: Treatment = async ({ forward, response }) => {
  const { status, headers, text } = await wholeAnswer(forward);
  // The control plane's adapter goes by what is in the body: that is wrong as well.
  response.writeHead(status, { ...headers, 'content-type': 'text/html' }).end(`<pre>${text}</pre>`);
};

export async function wholeAnswer(
  forward: Given['forward'],
): Promise<{ readonly status: number; readonly headers: Record<string, string | string[]>; readonly text: string }> {
  const answer = await forward();
  return { status: answer.statusCode, headers: endToEnd(answer.headers), text: await answer.body.text() };
}

const BOTH: readonly Side[] = ['kubernetes', 'control'];
/** To every request but watches: they have faults of their own. */
const always = (treatment: Treatment) => () => (exchange: Exchange) => (exchange.operation.endsWith('.watch') ? undefined : treatment);
const plain = (name: string, treatment: Treatment, codes: Pick<Fault, 'kubernetes' | 'control'>): Fault => ({
  ...{ name, sides: BOTH, begin: always(treatment), ...codes },
});
const DOWN = { kubernetes: 'STORE_UNAVAILABLE', control: 'CONTROL_UNAVAILABLE' };
const GARBLED = { kubernetes: 'STORE_UNAVAILABLE', control: 'CONTROL_ANSWER_INVALID' };

export const FAULTS: readonly Fault[] = [
  plain('409', refused(409, 'Conflict'), { kubernetes: 'STORE_CONFLICT', control: 'CONTROL_CONFLICT' }),
  plain('410', refused(410, 'Expired'), { kubernetes: 'STORE_UNAVAILABLE', control: 'CONTROL_ANSWER_INVALID' }),
  plain('429', refused(429, 'TooManyRequests'), { kubernetes: 'STORE_UNAVAILABLE', control: 'CONTROL_RATE_LIMITED' }),
  plain('429 with Retry-After', refused(429, 'TooManyRequests', 2), { kubernetes: 'STORE_UNAVAILABLE', control: 'CONTROL_RATE_LIMITED' }),
  plain('500', refused(500, 'InternalError'), DOWN),
  plain('502 with a page', badGateway, DOWN),
  plain('hang', hang, DOWN),
  plain('slow-loris', slowLoris, DOWN),
  plain('truncated JSON', truncated, GARBLED),
  plain('wrong content type', wrongType, GARBLED),
  plain('200 with an error body', errorInSuccess, GARBLED),
  plain('reset', reset, DOWN),
  plain('reset after the effect', resetAfterEffect, DOWN),
  { name: 'stale reads', sides: BOTH, begin: stale, kubernetes: undefined, control: undefined },
  { name: 'watch events twice', sides: ['kubernetes'], begin: watchFault('twice'), kubernetes: undefined, control: undefined },
  { name: 'watch events dropped', sides: ['kubernetes'], begin: watchFault('dropped'), kubernetes: undefined, control: undefined },
  { name: 'watch events out of order', sides: ['kubernetes'], begin: watchFault('shuffled'), kubernetes: undefined, control: undefined },
];
