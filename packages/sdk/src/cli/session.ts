import type { DescMessage, DescMethodServerStreaming, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { createContextValues } from '@connectrpc/connect';
import type { Cli } from './cli.ts';
import { type Connection, connect, type GlobalOptions } from './connect.ts';
import { failureOf } from './failure.ts';
import { durationMs, durationText } from './quantities.ts';
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

  /** One call, within `--request-timeout`. A service that asks to wait is waited for: it has done nothing yet. @throws {ConnectError} what it answers */
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
    onHeader: (header: Headers) => void = () => {},
  ): Promise<MessageShape<O>> {
    const { transport } = await this.connection();
    const { clock } = this.cli;
    const untilMs = clock.nowMs() + this.#timeoutMs;
    for (;;) {
      const header = { 'x-request-id': clock.newId() };
      try {
        const answer = await transport.unary(method, this.signal, this.#timeoutMs, header, input, createContextValues());
        onHeader(answer.header);
        return answer.message;
      } catch (error) {
        const { code, retryAfterMs } = failureOf(error);
        if (this.signal.aborted || code !== 'RATE_LIMITED' || retryAfterMs === undefined || clock.nowMs() + retryAfterMs > untilMs) throw error;
        this.show.note(`the service asks to wait for ${durationText(Math.max(1_000, retryAfterMs))}`);
        await clock.sleep(retryAfterMs, { signal: this.signal });
      }
    }
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
