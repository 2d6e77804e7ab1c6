import { pause } from '../../support/pause.ts';
import { type Exchange, endToEnd, type Given, type Side, type Treatment } from './exchange.ts';
import { stale } from './stale.ts';
import { type WatchFault, watchFault } from './watch-faults.ts';

/** One way in which an answer goes wrong, and what the manager makes of it. */
export interface Fault {
  readonly name: string;
  readonly sides: readonly Side[];
  /** A treatment for one run of the fault: some remember what they have seen. */
  readonly begin: () => (exchange: Exchange) => Treatment | undefined;
  /** The same for every request, also one that opens a watch; undefined: it needs to know what was before, or is of watches only. */
  readonly treatment?: Treatment;
  /** What a call answers while the API server is so; undefined: it is answered. */
  readonly kubernetes: string | undefined;
  /** What the sidecar's reason says while the control plane is so. */
  readonly control: string | undefined;
}

const MESSAGE = 'injected by the fault proxy';
const JSON_TYPE = { 'content-type': 'application/json' };

interface Refusal {
  readonly code: number;
  readonly reason: string;
  readonly retryAfter?: number;
}

export const EXPIRED: Refusal = { code: 410, reason: 'Expired' };

/** A refusal in the form of that side. */
export function refusal(side: Side, { code, reason, retryAfter }: Refusal): string {
  const details = retryAfter === undefined ? {} : { details: { retryAfterSeconds: retryAfter } };
  return JSON.stringify(
    side === 'control'
      ? { message: MESSAGE }
      : { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', reason, code, message: MESSAGE, ...details },
  );
}

/** Refused before it had any effect. */
export const refused =
  (why: Refusal): Treatment =>
  async ({ exchange, response }) => {
    const headers = why.retryAfter === undefined ? JSON_TYPE : { ...JSON_TYPE, 'retry-after': String(why.retryAfter) };
    response.writeHead(why.code, headers).end(refusal(exchange.side, why));
  };

const badGateway: Treatment = async ({ response }) => {
  response.writeHead(502, { 'content-type': 'text/html' }).end('<html><body><h1>502 Bad Gateway</h1></body></html>');
};

/** Nothing more comes, until the other side leaves. */
export const untilLeft: Treatment = async ({ response }) => {
  await new Promise<void>((resolve) => {
    if (response.destroyed) resolve();
    response.on('close', () => resolve());
  });
};

/** A success in its status line only. */
const errorInSuccess: Treatment = async ({ exchange, response }) => {
  response.writeHead(200, JSON_TYPE).end(refusal(exchange.side, { code: 500, reason: 'InternalError' }));
};

/** A success, and good JSON, but of another type than what was asked for has. */
const anotherType: Treatment = async ({ exchange, response }) => {
  const ofControl = exchange.method === 'GET' ? '[]' : '"text"';
  const body = exchange.side === 'control' ? ofControl : JSON.stringify({ kind: 'ConfigMap', apiVersion: 'v1', metadata: {} });
  response.writeHead(200, JSON_TYPE).end(body);
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
  ...{ name, sides: BOTH, treatment, begin: always(treatment), ...codes },
});
const ofWatches = (name: string, kind: WatchFault): Fault => ({
  ...{ name, sides: ['kubernetes'], begin: watchFault(kind), kubernetes: undefined, control: undefined },
});
const DOWN = { kubernetes: 'STORE_UNAVAILABLE', control: 'CONTROL_UNAVAILABLE' };
const GARBLED = { kubernetes: 'STORE_UNAVAILABLE', control: 'CONTROL_ANSWER_INVALID' };

export const FAULTS: readonly Fault[] = [
  plain('409', refused({ code: 409, reason: 'Conflict' }), { kubernetes: 'STORE_CONFLICT', control: 'CONTROL_CONFLICT' }),
  plain('410', refused(EXPIRED), { kubernetes: 'STORE_UNAVAILABLE', control: 'CONTROL_ANSWER_INVALID' }),
  plain('429', refused({ code: 429, reason: 'TooManyRequests' }), { kubernetes: 'STORE_UNAVAILABLE', control: 'CONTROL_RATE_LIMITED' }),
  plain('429 with Retry-After', refused({ code: 429, reason: 'TooManyRequests', retryAfter: 2 }), {
    kubernetes: 'STORE_UNAVAILABLE',
    control: 'CONTROL_RATE_LIMITED',
  }),
  plain('500', refused({ code: 500, reason: 'InternalError' }), DOWN),
  plain('502 with a page', badGateway, DOWN),
  plain('hang', untilLeft, DOWN),
  plain('slow-loris', slowLoris, DOWN),
  plain('truncated JSON', truncated, GARBLED),
  plain('wrong content type', wrongType, GARBLED),
  plain('200 with an error body', errorInSuccess, GARBLED),
  plain('wrong JSON type', anotherType, GARBLED),
  plain('reset', reset, DOWN),
  plain('reset after the effect', resetAfterEffect, DOWN),
  { name: 'stale reads', sides: BOTH, begin: stale, kubernetes: undefined, control: undefined },
  ofWatches('watch events twice', 'twice'),
  ofWatches('watch events dropped', 'dropped'),
  ofWatches('watch events out of order', 'shuffled'),
  ofWatches('watches silent', 'silent'),
  ofWatches('watches expired', 'expired'),
];

/** @throws {RangeError} no fault is called so */
export function faultNamed(name: string): Fault {
  const fault = FAULTS.find((each) => each.name === name);
  if (fault === undefined) throw new RangeError(`no fault "${name}"`);
  return fault;
}

/** Those that nobody's single request can have: watches are everybody's. */
export const isOfWatches = ({ name }: Fault): boolean => name.startsWith('watch');
