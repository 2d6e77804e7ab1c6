import { BifrostError, type BifrostErrorInit, type ErrorCode, type Issue } from '@bifrost/types/core';
import type { StatusBody, StatusCause } from './api-types.ts';

/** A refusal by the API server. */
export interface ApiProblem {
  readonly status: number;
  readonly reason: string | undefined;
  readonly message: string;
  readonly causes: readonly StatusCause[];
  readonly retryAfterMs: number | undefined;
}

const MAX_MESSAGE_LENGTH = 600;
/** Whatever the other side says: after this time it is asked again. */
const LONGEST_PAUSE_MS = 60_000;

export function problemOf(status: number, body: StatusBody, retryAfterHeader: string | undefined): ApiProblem {
  const seconds = body.details?.retryAfterSeconds ?? Number(retryAfterHeader ?? Number.NaN);
  return {
    status,
    reason: body.reason === '' ? undefined : body.reason,
    message: (body.message ?? '').slice(0, MAX_MESSAGE_LENGTH),
    causes: body.details?.causes ?? [],
    retryAfterMs: Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds * 1_000, LONGEST_PAUSE_MS) : undefined,
  };
}

/** True when the object itself is not there. A 404 without a reason is the answer for a path that the server does not know at all. */
export const isAbsent = (problem: ApiProblem): boolean => problem.status === 404 && problem.reason === 'NotFound';

/** A JSON Patch whose `test` failed: the server says no more than "Invalid". A webhook that refuses with that status has a reason of its own, or none. */
export const isFailedTest = ({ status, reason, causes }: ApiProblem): boolean => status === 422 && reason === 'Invalid' && causes.length === 0;

const isManagerConflict = (cause: StatusCause): boolean => cause.reason === 'FieldManagerConflict';

/** The error that a refused call on `subject` ("deployment shop/book") ends in. */
export function clusterError(problem: ApiProblem, subject: string): BifrostError {
  const conflicts = conflictsIn(problem);
  const [first] = conflicts;
  if (first !== undefined) {
    const known = conflicts.find(({ manager }) => manager !== 'unknown') ?? first;
    return ownedByOther(
      subject,
      known.manager,
      conflicts.map(({ path }) => path),
    );
  }
  const { code, advice } = classify(problem);
  const init: BifrostErrorInit = { code, message: `${subject}: ${advice}`, issues: issuesOf(problem.causes), details: detailsOf(problem) };
  return new BifrostError(problem.retryAfterMs === undefined ? init : { ...init, retryAfterMs: problem.retryAfterMs });
}

function classify(problem: ApiProblem): { code: ErrorCode; advice: string } {
  const { status } = problem;
  const terminating = problem.causes.some(({ reason }) => reason === 'NamespaceTerminating');
  if (terminating) return { code: 'CLUSTER_REJECTED', advice: 'its namespace is being deleted' };
  if (status === 401)
    return { code: 'CLUSTER_DENIED', advice: 'the API server does not accept our credentials; check the kubeconfig or ServiceAccount' };
  if (status === 403) return { code: 'CLUSTER_DENIED', advice: `forbidden; grant what examples/deploy/rbac.yaml grants (${problem.message})` };
  if (status === 409) return { code: 'CLUSTER_CONFLICT', advice: 'changed meanwhile; read it again and repeat' };
  if (status === 410) return { code: 'CLUSTER_UNAVAILABLE', advice: 'the list that was being read has expired; repeat' };
  if (status === 429) return { code: 'CLUSTER_UNAVAILABLE', advice: 'the API server asks us to slow down' };
  if (status >= 500) return { code: 'CLUSTER_UNAVAILABLE', advice: `the API server answered HTTP ${status}` };
  const said = refusalIn(problem);
  return {
    code: 'CLUSTER_REJECTED',
    advice: `the API server refused it with HTTP ${status}${problem.reason ? ` ${problem.reason}` : ''}${said === '' ? '' : ` (${said})`}; see issues`,
  };
}

/** The words of whoever refused: an admission policy has them in its cause, a webhook in the message. Where there are causes the message has values in it. */
const refusalIn = ({ causes: [first], message }: ApiProblem): string => (first === undefined ? message : wordsOf(first));

function detailsOf({ status, reason }: ApiProblem): Record<string, string> {
  return reason === undefined ? { status: String(status) } : { status: String(status), reason };
}

/** Where other managers stand in the way of an apply, and which; empty for any other refusal. */
export function conflictsIn({ causes }: ApiProblem): readonly { readonly manager: string; readonly path: string }[] {
  return causes
    .filter(isManagerConflict)
    .map(({ message = '', field = '' }) => ({ manager: conflictingManager(message) ?? 'unknown', path: fieldPath(field) }));
}

/** Someone else owns fields that we would write. */
export function ownedByOther(subject: string, manager: string, paths: readonly string[]): BifrostError {
  return new BifrostError({
    code: 'FIELD_CONFLICT',
    message: `${subject}: ${JSON.stringify(manager)} already owns fields that the sidecar needs; remove them there, then attach again`,
    details: { manager },
    issues: paths.map((path) => ({ path, message: `owned by ${JSON.stringify(manager)}` })),
  });
}

/**
 * The field manager in a FieldManagerConflict cause. Server-side apply tells it nowhere else, so this one function reads message text
 * (recorded answers: test/kubernetes-errors.test.ts). Forms: `conflict with "NAME"`, the same followed by ` using VERSION` or
 * ` with subresource "NAME" using VERSION`. The name is quoted as in Go.
 */
export function conflictingManager(causeMessage: string): string | undefined {
  const quoted = /^conflict with ("(?:[^"\\]|\\.)*")/.exec(causeMessage)?.[1];
  if (quoted === undefined) return undefined;
  try {
    return String(JSON.parse(quoted));
  } catch {
    return quoted.slice(1, -1); // Go escapes that JSON does not have: the raw form still names the manager
  }
}

const fieldPath = (field: string): string => field.replace(/^\./, '');

function issuesOf(causes: readonly StatusCause[]): readonly Issue[] {
  return causes.map((cause) => ({ path: fieldPath(cause.field ?? ''), message: wordsOf(cause) }));
}

const wordsOf = ({ message, reason }: StatusCause): string => withoutValue(message ?? reason ?? 'refused');

/** `Invalid value: "VALUE": why` -> `Invalid value: why`: what was refused may be somebody's secret. */
function withoutValue(message: string): string {
  if (message.startsWith('Duplicate value')) return 'Duplicate value';
  const supported = /^Unsupported value: [\s\S]*(: supported values: [\s\S]*)$/.exec(message)?.[1];
  if (supported !== undefined) return `Unsupported value${supported}`;
  const why = /^(?:Invalid|Unsupported) value: [\s\S]*: ([\s\S]*)$/.exec(message)?.[1];
  if (why !== undefined) return `Invalid value: ${why}`;
  return /^(?:Invalid|Unsupported) value/.test(message) ? 'Invalid value' : message;
}

/** The API server gave no answer, or one that is none. */
export function unavailable(subject: string, cause: unknown): BifrostError {
  return new BifrostError({ code: 'CLUSTER_UNAVAILABLE', message: `${subject}: no usable answer from the API server; try again later`, cause });
}
