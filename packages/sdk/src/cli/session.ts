import type { DescMessage, DescMethodServerStreaming, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { createContextValues } from '@connectrpc/connect';
import type { Cli } from './cli.ts';
import { type Connection, connect, type GlobalOptions } from './connect.ts';
import { durationMs } from './quantities.ts';
import { Show } from './show.ts';

/** One run of one command. */
export class Session implements AsyncDisposable {
  readonly cli: Cli;
  readonly options: GlobalOptions;
  readonly show: Show;
  readonly #timeoutMs: number;
  #connection: Promise<Connection> | undefined;

  constructor(cli: Cli, options: GlobalOptions) {
    this.cli = cli;
    this.options = options;
    this.show = new Show(cli, options.output);
    this.#timeoutMs = durationMs(options.requestTimeout, '--request-timeout');
  }

  get signal(): AbortSignal {
    return this.cli.signal;
  }

  /** Opened by whoever needs it first. */
  connection(): Promise<Connection> {
    this.#connection ??= connect(this.options, this.cli);
    return this.#connection;
  }

  /** One call, within `--request-timeout`. @throws {ConnectError} what the service answers */
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
    onHeader: (header: Headers) => void = () => {},
  ): Promise<MessageShape<O>> {
    const { transport } = await this.connection();
    const header = { 'x-request-id': this.cli.clock.newId() };
    const answer = await transport.unary(method, this.signal, this.#timeoutMs, header, input, createContextValues());
    onHeader(answer.header);
    return answer.message;
  }

  async *stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    input: MessageInitShape<I>,
    signal: AbortSignal,
  ): AsyncGenerator<MessageShape<O>, void, void> {
    const { transport } = await this.connection();
    const header = { 'x-request-id': this.cli.clock.newId() };
    const answer = await transport.stream(method, signal, undefined, header, once(input), createContextValues());
    yield* answer.message;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const connection = await this.#connection?.catch(() => undefined);
    await connection?.[Symbol.asyncDispose]();
  }
}

async function* once<T>(value: T): AsyncGenerator<T, void, void> {
  yield value;
}
