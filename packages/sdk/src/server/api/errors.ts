import { BifrostError, ERROR_CODES, wirePath } from '@bifrost/types/core';
import { BadRequestSchema, ErrorInfoSchema, HelpSchema, RetryInfoSchema, type RpcStatus, RpcStatusSchema } from '@bifrost/types/proto';
import { create, createRegistry, type DescMessage, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { type Any, anyPack } from '@bufbuild/protobuf/wkt';
import { type Code, ConnectError } from '@connectrpc/connect';

const DOMAIN = 'bifrost.dev';

/** What callers are told: our own errors as they are; everything else is our fault, and says nothing. */
export const told = (error: unknown): BifrostError =>
  BifrostError.is(error) ? error : new BifrostError({ code: 'INTERNAL', message: 'The call failed.', cause: error });

interface Detail {
  readonly desc: DescMessage;
  readonly value: MessageInitShape<DescMessage>;
}

/** The details of an error in Google's model: our code, wrong fields, retry advice, the page that helps. */
function detailsOf(error: BifrostError): readonly Detail[] {
  const { code, issues, details, retry, retryAfterMs, runbook } = error;
  const metadata = { ...details, retry };
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
export function connectError(error: BifrostError): ConnectError {
  return new ConnectError(error.message, ERROR_CODES[error.code].grpc as Code, undefined, [...detailsOf(error)], error);
}

/** The error body of every REST door. */
export function statusOf(error: BifrostError): RpcStatus {
  const details = detailsOf(error).map(({ desc, value }): Any => anyPack(desc, create(desc, value)));
  return create(RpcStatusSchema, { code: ERROR_CODES[error.code].grpc, message: error.message, details });
}

const DETAIL_TYPES = createRegistry(BadRequestSchema, ErrorInfoSchema, HelpSchema, RetryInfoSchema);

/** The same as JSON. */
export const statusJson = (error: BifrostError): unknown =>
  toJson(RpcStatusSchema, statusOf(error), { registry: DETAIL_TYPES, useProtoFieldName: true, alwaysEmitImplicit: true });

/** HTTP status of our code. */
export const httpStatusOf = (error: BifrostError): number => ERROR_CODES[error.code].http;
