import { createHash, randomUUID } from 'node:crypto';
import { BifrostError, ERROR_CODES } from '@bifrost/types/core';
import type { ConnectivityEvent } from '@bifrost/types/proto';
import { type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { nameForRecord } from '../../manager/audited.ts';
import type { ChangeOptions } from '../../manager/manager-core.ts';
import { isVisible } from '../../manager/scope.ts';
import { describeError } from '../../manager/unexpected.ts';
import { callerOf, customersOf, type Principal } from '../auth/principal.ts';
import { type AdminFlag, decide, type MethodName, type MethodRule, permissionDenied, ruleOf } from '../auth/rules.ts';
import { replayedHeaders } from '../limits/idempotency.ts';
import { rateLimited, rateLimitHeaders, tighterOf } from '../limits/rate-limiter.ts';
import type { Caller } from './caller.ts';
import { messageOf, type Plain, plainOf } from './convert.ts';
import { addressOf, credentialsOf } from './credentials.ts';
import { deadlineOf } from './deadline.ts';
import { told } from './errors.ts';
import type { Handler, Outcome } from './handlers.ts';
import { ifMatchOf } from './if-match.ts';
import { openStream } from './monitor-call.ts';
import type { ApiParts, Streaming, Unary } from './network-api.ts';
import { identityOf, type RequestIdentity } from './request-identity.ts';
import { malformed } from './rest-error.ts';
import { SERVICE_HANDLERS } from './service-handlers.ts';
import { SIDECAR_HANDLERS } from './sidecar-handlers.ts';
import { TAILNET_HANDLERS } from './tailnet-handlers.ts';
import { unknownWords } from './unknown-words.ts';

/** Leading header by which a door in front learns the HTTP status; it takes it away. */
export const HTTP_STATUS_HEADER = 'bifrost-http-status';

const HANDLERS: Readonly<Record<string, Handler>> = { ...TAILNET_HANDLERS, ...SIDECAR_HANDLERS, ...SERVICE_HANDLERS };

/** What a unary call answers. */
export interface Answer<Message> {
  readonly message: Message;
  readonly httpStatus: number;
}

/** What was let through, with what the manager needs to know of it. */
export interface Permitted {
  readonly principal: Principal;
  readonly rule: MethodRule;
  readonly request: Plain;
  readonly options: ChangeOptions & { readonly signal: AbortSignal };
}

interface Asked {
  readonly subject: string;
  readonly customerId?: string;
  /** Of the request, hex. Asked for by records only: most calls are reads that leave none. */
  readonly hash?: () => string;
}

/** One call on its way through the door. `headers` are for the caller, whatever comes of it. */
export class ApiCall {
  readonly identity: RequestIdentity;
  readonly headers: Record<string, string>;
  readonly #parts: ApiParts;
  readonly #caller: Caller;
  #principal: Principal | undefined;
  /** What its record says of the request, as far as it has been read. */
  #asked: Asked = { subject: '' };

  constructor(parts: ApiParts, caller: Caller) {
    this.#parts = parts;
    this.#caller = caller;
    this.identity = identityOf(caller, randomUUID);
    this.headers = { 'x-request-id': this.identity.requestId };
  }

  /**
   * Who calls. Before anything of the request is read; `method` is for the record, as far as the door can tell.
   *
   * @throws {BifrostError} `UNAUTHENTICATED`, `RATE_LIMITED`, `AUTH_UNAVAILABLE`
   */
  async admit(method = ''): Promise<void> {
    const { attempts, authenticator, trustsPeer } = this.#parts;
    const { signal } = this.#caller;
    const look = () => authenticator.authenticate(credentialsOf(this.#caller, trustsPeer), { signal });
    const judged = await attempts.judge(addressOf(this.#caller, trustsPeer), { signal, look });
    if (judged.refused !== undefined) {
      Object.assign(this.headers, rateLimitHeaders(judged.refused));
      throw await this.#denied(method, rateLimited(judged.refused));
    }
    if (judged.known === undefined) {
      const message = 'Show a credential that this service knows.';
      const issues = [{ path: 'authorization', message: 'is missing, or nobody vouches for it' }];
      throw await this.#denied(method, new BifrostError({ code: 'UNAUTHENTICATED', message, issues }));
    }
    this.#principal = judged.known;
  }

  /** The error as the caller is told it. What is our fault says nothing to the caller, so the log says where it was. */
  told(error: unknown): BifrostError {
    if (!BifrostError.is(error) && !this.#caller.signal.aborted)
      this.#parts.logger.log('error', 'a call failed', { requestId: this.identity.requestId, error: describeError(error) });
    return told(error);
  }

  /** @throws {BifrostError} as the manager's own calls, and what stands between a caller and them */
  async run<Output extends DescMessage>(
    method: Unary & { readonly output: Output },
    message: MessageShape<DescMessage>,
  ): Promise<Answer<MessageShape<Output>>> {
    const handler = HANDLERS[method.name];
    if (handler === undefined) throw new BifrostError({ code: 'PATH_NOT_FOUND', message: 'This method is not served.' });
    const deadline = deadlineOf(this.#caller.signal, this.#parts.callTimeoutMs);
    try {
      const permitted = await this.#permit(method, message, deadline.signal);
      const { body, httpStatus = 200, etag } = await this.#handle(method, { handler, permitted });
      if (etag !== undefined) this.headers['etag'] = `"${etag}"`;
      return { message: messageOf(method.output, body), httpStatus };
    } catch (error) {
      throw deadline.meant(error);
    } finally {
      deadline[Symbol.dispose]();
    }
  }

  /** Events, after everything that can be refused has been looked at. */
  async open(method: Streaming, message: MessageShape<DescMessage>): Promise<AsyncIterable<ConnectivityEvent>> {
    const permitted = await this.#permit(method, message, this.#caller.signal);
    const lastEventId = this.#caller.header('last-event-id');
    try {
      return await openStream(this.#parts, permitted, lastEventId);
    } catch (error) {
      throw await this.#recorded(method.name, error);
    }
  }

  async #permit(method: Unary | Streaming, message: MessageShape<DescMessage>, signal: AbortSignal): Promise<Permitted> {
    const principal = this.#principal;
    if (principal === undefined) throw new BifrostError({ code: 'INTERNAL', message: 'A call was not admitted.' });
    const unknown = unknownWords(method.input, message);
    if (unknown.length > 0) throw malformed(unknown);
    const request = plainOf(method.input, message);
    const rule = ruleOf(
      method.name as MethodName,
      (['abandon', 'cascade'] as const).filter((flag: AdminFlag) => request[flag] === true),
    );
    const hash = (): string => createHash('sha256').update(method.name).update('\0').update(toBinary(method.input, message)).digest('hex');
    this.#asked = { subject: nameForRecord(request['tailnetName'] || request['sidecarId']), hash };
    const ifMatch = rule.changes ? ifMatchOf(this.#caller.header('if-match'), request) : undefined;
    const options = {
      signal,
      actor: callerOf(principal),
      request: { ...this.identity, method: method.name, ...(rule.recorded ? { requestSha256: hash() } : {}) },
      scope: { visible: customersOf(principal, 'viewer'), permitted: customersOf(principal, rule.needs) },
      ...(ifMatch === undefined ? {} : { ifMatch }),
    };
    const permitted = { principal, rule, request, options };
    await this.#takePoints(method.name, permitted);
    const asked = rule.about === 'customer' ? String(request['customerId'] ?? '') : undefined;
    const isJudgedHere = rule.about === 'customer' || rule.about === 'list' || rule.about === 'installation';
    if (isJudgedHere && decide(rule, principal, asked) !== 'allowed')
      throw await this.#denied(method.name, permissionDenied(method.name as MethodName, rule));
    return permitted;
  }

  async #takePoints(name: string, { principal, rule, request, options }: Permitted): Promise<void> {
    const { limiter, owners } = this.#parts;
    const named = rule.about === 'customer' || rule.about === 'list' ? nameForRecord(request['customerId']) : '';
    this.#asked = { ...this.#asked, customerId: named };
    const own = await limiter.takeForCaller(callerOf(principal), rule.cost);
    const customerId = own.allowed ? await owners.of(rule, request, options) : undefined;
    const isTheirs = customerId !== undefined && isVisible(customerId, options.scope);
    if (isTheirs) this.#asked = { ...this.#asked, customerId };
    const verdict = isTheirs ? tighterOf(own, await limiter.takeForCustomer(customerId, rule.cost)) : own;
    Object.assign(this.headers, rateLimitHeaders(verdict));
    if (!verdict.allowed) throw await this.#denied(name, rateLimited(verdict));
  }

  async #handle(method: Unary, { handler, permitted }: { readonly handler: Handler; readonly permitted: Permitted }): Promise<Outcome> {
    const { manager, kept } = this.#parts;
    const { principal, rule, request, options } = permitted;
    const work = async (): Promise<Outcome> => {
      try {
        return await handler({ manager, principal, request, options, accepted: () => this.#record(method.name, 'accepted') });
      } catch (error) {
        throw rule.recorded ? error : await this.#recorded(method.name, error); // the manager records these itself
      }
    };
    const key = this.#caller.header('idempotency-key');
    if (key === undefined || !rule.changes) return work();
    const requestHash = options.request?.requestSha256 ?? '';
    const outcome = await kept.run({ caller: callerOf(principal), key, requestHash, signal: options.signal }, work);
    Object.assign(this.headers, replayedHeaders(outcome));
    if (outcome.kind === 'error') throw outcome.error;
    return outcome.answer;
  }

  /** A denial of a reader is recorded too: what is foreign to it among them. */
  async #recorded(name: string, error: unknown): Promise<unknown> {
    if (!BifrostError.is(error)) return error;
    const { http } = ERROR_CODES[error.code];
    return http === 403 || http === 404 || http === 429 ? this.#denied(name, error) : error;
  }

  async #denied(name: string, error: BifrostError): Promise<BifrostError> {
    await this.#record(name, error.code).catch(() =>
      this.#parts.logger.log('error', 'a denial could not be recorded', { method: name, code: error.code, requestId: this.identity.requestId }),
    );
    return error;
  }

  async #record(name: string, outcome: string): Promise<void> {
    const { audit, clock, trustsPeer } = this.#parts;
    const principal = this.#principal;
    const actor = principal === undefined ? `peer:${addressOf(this.#caller, trustsPeer)}` : callerOf(principal);
    const action = principal === undefined ? 'authenticate' : `${name.charAt(0).toLowerCase()}${name.slice(1)}`;
    const { subject, customerId, hash } = this.#asked;
    const request = { ...this.identity, method: name, ...(hash === undefined ? {} : { requestSha256: hash() }) };
    const record = { atMs: clock.nowMs(), actor, action, subject, outcome, request, ...(customerId ? { customerId } : {}) };
    await audit.append(record, { signal: AbortSignal.timeout(5_000) });
  }
}
