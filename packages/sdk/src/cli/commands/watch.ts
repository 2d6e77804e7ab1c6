import { type ConnectivityEvent, ConnectivityEventSchema, NetworkManager } from '@bifrost/types/proto';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { type Command, Option } from 'commander';
import { usage } from '../connect.ts';
import { EXIT } from '../exit-codes.ts';
import { failureOf, headlineOf, reasonOf } from '../failure.ts';
import { collect } from '../input.ts';
import type { Run } from '../program.ts';
import { safeText } from '../safe-text.ts';
import type { Session } from '../session.ts';
import { wireOf } from '../wire.ts';

const HEARTBEAT_SECONDS = 10;
/** A connection that says nothing for three heartbeats is dead, whatever TCP thinks. */
const SILENCE_MS = 3 * HEARTBEAT_SECONDS * 1_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

interface Options {
  readonly customer?: string;
  readonly sidecar?: string;
  readonly type?: readonly string[];
  readonly resume?: string;
}

export function addWatch(program: Command, run: Run): void {
  program
    .command('watch')
    .description('follow connectivity events until interrupted; a lost connection is taken up where it was')
    .argument('[tailnet]')
    .option('--customer <id>', 'only this customer’s')
    .option('--sidecar <id>', 'only this sidecar’s')
    .addOption(new Option('--type <type>', 'connected, disconnected or error; several with commas').argParser(collect))
    .option('--resume <token>', 'begin after the event that had this resume_token')
    .action(
      run<Options>(async (session, [tailnetName = ''], options) => {
        if (!(await session.connection()).isLive) throw usage('Events are told by the running manager alone: ask it with --server.', '--cluster');
        // Who may not call, or calls nobody, learns it here; from now on every loss is one that passes.
        await session.call(NetworkManager.method.getServiceInfo, {});
        await new Watch(session, { ...options, tailnetName }).follow();
        return EXIT.ok;
      }),
    );
}

/** Errors that no other try would mend. */
const FINAL: ReadonlySet<Code> = new Set([Code.InvalidArgument, Code.NotFound, Code.PermissionDenied, Code.Unauthenticated, Code.Unimplemented]);

class Watch {
  readonly #session: Session;
  readonly #options: Options & { readonly tailnetName: string };
  #token: string;
  #pauseMs = FIRST_PAUSE_MS;

  constructor(session: Session, options: Options & { readonly tailnetName: string }) {
    this.#session = session;
    this.#options = options;
    this.#token = options.resume ?? '';
  }

  /** Resolves when whoever runs it has seen enough. */
  async follow(): Promise<void> {
    const { signal, show, cli } = this.#session;
    while (!signal.aborted) {
      try {
        await this.#read();
        show.note('the service ended the stream; taking it up again');
      } catch (error) {
        if (signal.aborted) return;
        this.#judge(error);
      }
      await cli.clock.sleep(this.#pauseMs, { signal }).catch(() => {});
      this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  /** Says what was lost, and forgets a position that is good no more. @throws what no other try would mend */
  #judge(error: unknown): void {
    const { show } = this.#session;
    const reason = reasonOf(error);
    if (reason === 'RESUME_TOKEN_EXPIRED') {
      this.#token = '';
      show.note('events in between are kept no more: what follows is from now on; look at `bifrost status` for how things stand');
      return;
    }
    const failure = failureOf(error);
    if (!(error instanceof ConnectError) || FINAL.has(error.code)) throw error;
    this.#token = failure.details?.['resumeToken'] ?? this.#token;
    show.note(`lost the service, trying again: ${headlineOf(failure)}`);
  }

  async #read(): Promise<void> {
    const { cli, signal } = this.#session;
    const { tailnetName, customer = '', sidecar = '', type = [] } = this.#options;
    const silent = new AbortController();
    const either = AbortSignal.any([signal, silent.signal]);
    let heardAtMs = cli.clock.nowMs();
    const request = {
      tailnetName,
      customerId: customer,
      sidecarId: sidecar,
      eventTypes: [...type],
      resumeToken: this.#token,
      heartbeatSeconds: HEARTBEAT_SECONDS,
    };
    const guard = this.#untilSilent(() => heardAtMs, either).then(
      () => silent.abort(new ConnectError('no heartbeat', Code.Unavailable)),
      () => {},
    );
    try {
      for await (const event of this.#session.stream(NetworkManager.method.monitorConnectivity, request, either)) {
        heardAtMs = cli.clock.nowMs();
        this.#pauseMs = FIRST_PAUSE_MS;
        if (event.eventType !== '') this.#tell(event);
        if (event.resumeToken !== '') this.#token = event.resumeToken; // after it was told: nothing is lost in between
      }
    } catch (error) {
      throw silent.signal.aborted ? silent.signal.reason : error;
    } finally {
      silent.abort(new ConnectError('done', Code.Canceled));
      await guard;
    }
  }

  async #untilSilent(heardAtMs: () => number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#session.cli;
    for (let leftMs = SILENCE_MS; leftMs > 0; leftMs = heardAtMs() + SILENCE_MS - clock.nowMs()) await clock.sleep(leftMs, { signal });
  }

  #tell(event: ConnectivityEvent): void {
    const { show } = this.#session;
    if (!show.isForPeople) {
      show.item(wireOf(ConnectivityEventSchema, event));
      return;
    }
    const { state, cause, book_deployment_id: book = '', pod_name: pod = '' } = event.details;
    const time = event.timestamp === undefined ? '' : timestampDate(event.timestamp).toISOString();
    const why = [state, cause === undefined ? undefined : `cause: ${cause}`].filter((part) => part !== undefined).join(', ');
    const words = [event.tailnetName, book, pod, why === '' ? '' : `(${why})`].filter((part) => part !== '');
    show.lines([`${safeText(time)}   ${show.paint(safeText(event.eventType))}   ${safeText(words.join('   '))}`]);
  }
}
