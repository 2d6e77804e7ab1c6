import { BadRequestSchema, ConnectivityEventSchema, ErrorInfoSchema, HelpSchema, NetworkManager, RetryInfoSchema } from '@bifrost/types/proto';
import { type DescMethodUnary, fromJson, type JsonValue, type Message, toJson } from '@bufbuild/protobuf';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { type CallOptions, type Door, type Json, type Opened, refusal, StreamEnd, type Told, type Verdict } from './door.ts';

const JSON_FORM = { useProtoFieldName: true, alwaysEmitImplicit: true } as const;
const DETAILS = [ErrorInfoSchema, BadRequestSchema, RetryInfoSchema, HelpSchema] as const;

/** gRPC on a port of loopback, in clear, by a client that has the generated code. */
export class GrpcDoor implements Door {
  readonly kind = 'grpc';
  readonly name: string;
  readonly port: number;
  readonly #sessions = new AbortController();
  readonly transport: Transport;

  constructor({ name, port }: { readonly name: string; readonly port: number }) {
    this.name = name;
    this.port = port;
    this.transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` });
  }

  call(name: string, request: Json, options: CallOptions = {}): Promise<Verdict> {
    const method = NetworkManager.methods.find((each) => each.name === name);
    if (method?.methodKind !== 'unary') throw new RangeError(`no unary method ${name}`);
    return this.send(method as DescMethodUnary, fromJson(method.input, withCamelMask(request)), options);
  }

  /** A message as it is. */
  async send(
    method: DescMethodUnary,
    message: Message,
    { headers = {}, signal, timeoutMs }: CallOptions & { readonly timeoutMs?: number },
  ): Promise<Verdict> {
    const ends = signal === undefined ? this.#sessions.signal : AbortSignal.any([signal, this.#sessions.signal]);
    try {
      const response = await this.transport.unary(method, ends, timeoutMs, headers, message);
      const body = toJson(method.output, response.message, JSON_FORM);
      return { kind: 'grpc', code: 0, fields: [], body, headers: new Map([...response.trailer, ...response.header]) };
    } catch (error) {
      return verdictOf(error);
    }
  }

  async open(request: Json, { headers = {}, signal }: CallOptions = {}): Promise<Opened> {
    const method = NetworkManager.method.monitorConnectivity;
    const ends = signal === undefined ? this.#sessions.signal : AbortSignal.any([signal, this.#sessions.signal]);
    const message = fromJson(method.input, request as JsonValue);
    const input = (async function* () {
      yield message;
    })();
    const response = await this.transport.stream(method, ends, undefined, headers, input);
    const events = (async function* (): AsyncGenerator<Told> {
      try {
        for await (const event of response.message) yield toJson(ConnectivityEventSchema, event, JSON_FORM) as unknown as Told;
      } catch (error) {
        throw new StreamEnd(verdictOf(error));
      }
    })();
    return { events, headers: new Map(response.header) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sessions.abort(new Error('the door was closed'));
  }
}

/** The library reads masks in camel case only. */
function withCamelMask(request: Json): JsonValue {
  const { update_mask: mask } = request;
  return (
    typeof mask === 'string' ? { ...request, update_mask: mask.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()) } : request
  ) as JsonValue;
}

/** A Connect error in the words of REST. */
export function verdictOf(error: unknown): Verdict {
  const told = ConnectError.from(error, Code.Unknown);
  const details = DETAILS.flatMap((desc) =>
    told
      .findDetails(desc)
      .map((detail) => ({ '@type': `type.googleapis.com/${desc.typeName}`, ...(toJson(desc as never, detail as never, JSON_FORM) as object) })),
  );
  const status = refusal({ code: told.code, message: told.rawMessage, details });
  return { kind: 'grpc', ...status, body: told.rawMessage, headers: new Map(told.metadata) };
}
