import { BifrostError, wirePath } from '@bifrost/types/core';
import { BadRequestSchema, ErrorInfoSchema, HelpSchema, RetryInfoSchema } from '@bifrost/types/proto';
import { Code, ConnectError } from '@connectrpc/connect';
import { messageOf } from '../server/api/errors.ts';
import type { Cli } from './cli.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { durationText } from './quantities.ts';
import { safeText } from './safe-text.ts';

/** What is told of an error, wherever it came from. */
export interface Failure {
  readonly exit: ExitCode;
  readonly message: string;
  readonly code?: string | undefined;
  readonly fields?: readonly { readonly path: string; readonly message: string }[] | undefined;
  readonly runbook?: string | undefined;
  readonly requestId?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly details?: Readonly<Record<string, string>> | undefined;
}

/** The same call may work later: nobody answered, or nobody who knew what to say. */
const UNAVAILABLE: ReadonlySet<Code> = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Internal, Code.Unknown, Code.DataLoss]);

/** Our code of an error that a service answered. */
export const reasonOf = (error: unknown): string | undefined =>
  error instanceof ConnectError ? error.findDetails(ErrorInfoSchema)[0]?.reason : BifrostError.is(error) ? error.code : undefined;

export const isNotFound = (error: unknown): boolean => error instanceof ConnectError && error.code === Code.NotFound;

/** True where asking again may help. */
export const isUnavailable = (error: unknown): boolean => error instanceof ConnectError && UNAVAILABLE.has(error.code);

function systemCodeOf(error: unknown): string | undefined {
  for (let at = error, depth = 0; typeof at === 'object' && at !== null && depth < 8; at = (at as { cause?: unknown }).cause, depth += 1) {
    const { code } = at as { code?: unknown };
    if (typeof code === 'string' && /^[A-Z][A-Z0-9_]{2,60}$/.test(code)) return code;
  }
  return undefined;
}

/** Why nobody could be spoken to, by the system's own code. */
function unreachable(error: ConnectError): Failure | undefined {
  const system = error.findDetails(ErrorInfoSchema).length > 0 ? undefined : systemCodeOf(error.cause);
  if (system === undefined) return undefined;
  const isTls = /CERT|SSL|TLS|SELF_SIGNED|UNABLE_TO/.test(system);
  const advice = isTls
    ? 'its certificate is not trusted, or it does not speak TLS: see --ca, and the scheme of --server'
    : 'check --server, DNS and the way there';
  return { exit: EXIT.unavailable, message: `the service cannot be reached (${system}): ${advice}` };
}

function ofConnect(error: ConnectError): Failure {
  const lost = unreachable(error);
  if (lost !== undefined) return lost;
  const [info] = error.findDetails(ErrorInfoSchema);
  const [retry] = error.findDetails(RetryInfoSchema);
  const delay = retry?.retryDelay;
  return {
    exit: UNAVAILABLE.has(error.code) ? EXIT.unavailable : EXIT.refused,
    message: info === undefined ? `${Code[error.code]}: ${error.rawMessage}` : error.rawMessage,
    code: info?.reason,
    details: info?.metadata,
    fields: error
      .findDetails(BadRequestSchema)
      .flatMap(({ fieldViolations }) => fieldViolations.map(({ field, description }) => ({ path: field, message: description }))),
    runbook: error.findDetails(HelpSchema)[0]?.links[0]?.url,
    requestId: info?.metadata['request_id'] ?? error.metadata.get('x-request-id') ?? undefined,
    ...(delay === undefined ? {} : { retryAfterMs: Number(delay.seconds) * 1_000 + delay.nanos / 1e6 }),
  };
}

function ofOurs(error: BifrostError): Failure {
  const { code, issues, runbook } = error;
  const message = messageOf(error);
  if (code === 'INVALID_OPTIONS') return { exit: EXIT.usage, message, fields: issues };
  return {
    exit: error.retry === 'backoff' ? EXIT.unavailable : EXIT.refused,
    message,
    code,
    fields: issues.map((issue) => ({ path: wirePath(issue.path), message: issue.message })),
    runbook,
  };
}

/** What it is, and its code. */
export const headlineOf = ({ code, message }: Failure): string => (code === undefined ? message : `[${code}] ${message}`);

export function failureOf(error: unknown): Failure {
  if (error instanceof ConnectError) return ofConnect(error);
  if (BifrostError.is(error)) return ofOurs(error);
  if (error instanceof DOMException && error.name === 'TimeoutError') return { exit: EXIT.unavailable, message: error.message };
  return { exit: EXIT.unavailable, message: `unexpected: ${error instanceof Error ? (error.stack ?? String(error)) : String(error)}` };
}

/** For programs, or told elsewhere. */
const NOT_TOLD: ReadonlySet<string> = new Set(['retry', 'resumeToken', 'fragment', 'request_id']);

/** Tells of an error on stderr: what, which fields, what to do. */
export function tellFailure({ stderr }: Cli, error: unknown): ExitCode {
  const failure = failureOf(error);
  const { exit, fields = [], runbook, requestId, retryAfterMs, details = {} } = failure;
  const lines = [
    `error: ${headlineOf(failure)}`,
    ...fields.map(({ path, message: said }) => `  ${path === '' ? said : `${path}: ${said}`}`),
    ...Object.entries(details)
      .filter(([name]) => !NOT_TOLD.has(name))
      .map(([name, value]) => `  ${name}: ${value}`),
    ...(retryAfterMs === undefined ? [] : [`  try again in: ${durationText(Math.max(1_000, retryAfterMs))}`]),
    ...(runbook === undefined ? [] : [`  what to do: ${runbook}`]),
    ...(requestId === undefined ? [] : [`  request id: ${requestId}`]),
  ];
  for (const line of lines) stderr.write(`${safeText(line)}\n`);
  return exit;
}
