import { BifrostError, ERROR_CODES, wirePath } from '@bifrost/types/core';
import { BadRequestSchema, ErrorInfoSchema, HelpSchema, RetryInfoSchema, type RpcStatus, RpcStatusSchema } from '@bifrost/types/proto';
import { create, createRegistry, type DescMessage, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { type Any, anyPack } from '@bufbuild/protobuf/wkt';
import { type Code, ConnectError } from '@connectrpc/connect';
import { JSON_FORM } from './fields.ts';

const DOMAIN = 'bifrost.dev';

/** What callers are told: our own errors, in the wire's names; everything else is our fault, and says nothing. */
export function told(error: unknown): BifrostError {
  if (!BifrostError.is(error)) return new BifrostError({ code: 'INTERNAL', message: 'The call failed.', cause: error });
  return error;
}

/** The sentence without the code before it, which doors tell apart; fields as callers write them. */
export function messageOf(error: BifrostError): string {
  const text = error.message.replace(`[${error.code}] `, '');
  return error.issues.reduce((sentence, { path }) => (path === '' ? sentence : sentence.replaceAll(`${path}: `, `${wirePath(path)}: `)), text);
}

interface Detail {
  readonly desc: DescMessage;
  readonly value: MessageInitShape<DescMessage>;
}

/** The details of an error in Google's model: our code, wrong fields, retry advice, the page that helps. */
function detailsOf(error: BifrostError, requestId: string): readonly Detail[] {
  const { code, issues, details, retry, retryAfterMs, runbook } = error;
  const metadata = { ...details, retry, request_id: requestId };
  return [
    { desc: ErrorInfoSchema, value: { reason: code, domain: DOMAIN, metadata } },
    ...(issues.length === 0
      ? []
      : [
          {
            desc: BadRequestSchema,
            value: { fieldViolations: issues.map(({ path, message }) => ({ field: wirePath(path), description: message })) },
          },
        ]),
    ...(retryAfterMs === undefined
      ? []
      : [{ desc: RetryInfoSchema, value: { retryDelay: { seconds: BigInt(Math.floor(retryAfterMs / 1000)), nanos: (retryAfterMs % 1000) * 1e6 } } }]),
    { desc: HelpSchema, value: { links: [{ description: 'What to do about it', url: runbook }] } },
  ];
}

/** As gRPC tells it. */
export function connectError(error: BifrostError, requestId: string): ConnectError {
  return new ConnectError(messageOf(error), ERROR_CODES[error.code].grpc as Code, undefined, [...detailsOf(error, requestId)], error);
}

/** The error body of every REST door. */
export function statusOf(error: BifrostError, requestId: string): RpcStatus {
  const details = detailsOf(error, requestId).map(({ desc, value }): Any => anyPack(desc, create(desc, value)));
  return create(RpcStatusSchema, { code: ERROR_CODES[error.code].grpc, message: messageOf(error), details });
}

const DETAIL_TYPES = createRegistry(BadRequestSchema, ErrorInfoSchema, HelpSchema, RetryInfoSchema);

/** The same as JSON. */
export const statusJson = (error: BifrostError, requestId: string): unknown =>
  toJson(RpcStatusSchema, statusOf(error, requestId), { registry: DETAIL_TYPES, ...JSON_FORM });

/** HTTP status of our code. */
export const httpStatusOf = (error: BifrostError): number => ERROR_CODES[error.code].http;
