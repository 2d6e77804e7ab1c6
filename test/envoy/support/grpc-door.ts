import { BadRequestSchema, ErrorInfoSchema, NetworkManager } from '@bifrost/types/proto';
import { type DescMethodUnary, fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { Door, Headers, Json, Verdict } from './door.ts';

const headersOf = (headers: globalThis.Headers): ReadonlyMap<string, string> => new Map(headers);

/** gRPC on a port of loopback, in clear, by a client that has the generated code. */
export class GrpcDoor implements Door {
  readonly kind = 'grpc';
  readonly name: string;
  readonly #sessions = new AbortController();
  readonly transport: Transport;

  constructor({ name, port }: { readonly name: string; readonly port: number }) {
    this.name = name;
    this.transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` });
  }

  async call(
    name: string,
    request: Json,
    { headers = {}, signal }: { readonly headers?: Headers; readonly signal?: AbortSignal } = {},
  ): Promise<Verdict> {
    const method = NetworkManager.methods.find((each) => each.name === name);
    if (method?.methodKind !== 'unary') throw new RangeError(`no unary method ${name}`);
    const message = fromJson(method.input, request as JsonValue);
    const ends = signal === undefined ? this.#sessions.signal : AbortSignal.any([signal, this.#sessions.signal]);
    try {
      const response = await this.transport.unary(method as DescMethodUnary, ends, undefined, headers, message);
      const json = toJson(method.output, response.message, { useProtoFieldName: true, alwaysEmitImplicit: true });
      return { kind: 'grpc', code: 0, fields: [], body: json, headers: headersOf(response.header) };
    } catch (error) {
      return verdictOf(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sessions.abort(new Error('the door was closed'));
  }
}

/** Exported for streams: how they end. */
export function verdictOf(error: unknown): Verdict {
  const told = ConnectError.from(error, Code.Unknown);
  const [info] = told.findDetails(ErrorInfoSchema);
  const fields = told.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations.map(({ field }) => field));
  return {
    kind: 'grpc',
    code: told.code,
    fields,
    body: told.rawMessage,
    headers: headersOf(told.metadata),
    ...(info === undefined ? {} : { reason: info.reason }),
  };
}
