import { chmodSync, lstatSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { BifrostError } from '@bifrost/types/core';
import { BUS, BusReaders, type Notify } from './tailscaled-simulator-bus.ts';
import {
  BACKEND_STATES,
  healthJson,
  nodeJson,
  nodeNumberOf,
  type SimulatedBackendState,
  type SimulatedNode,
  type SimulatedPeer,
  type SimulatedWorld,
} from './tailscaled-simulator-json.ts';
import { handleLocalApi, isForbidden, type LocalApiRequest, localApiRequest, plain } from './tailscaled-simulator-routes.ts';

export type { SimulatedBackendState, SimulatedNode, SimulatedPeer } from './tailscaled-simulator-json.ts';

/** Options of {@link TailscaledSimulator}. */
export interface TailscaledSimulatorOptions {
  /** Where to listen; at most 107 bytes, as the system allows. */
  readonly socketPath: string;
  readonly node: SimulatedNode;
  readonly peers?: readonly SimulatedPeer[];
  /** Default `Running`. */
  readonly backendState?: SimulatedBackendState;
  /** Default `1.102.5`. */
  readonly version?: string;
  /** The header `Tailscale-Cap`; default 142. */
  readonly capability?: number;
}

/** How the next request fails: an HTTP error, a closed connection, silence, or an answer that is no JSON. */
export interface SimulatedFault {
  /** Only a request to this endpoint, e.g. `status`; any when absent. */
  readonly endpoint?: string;
  readonly kind: 'error' | 'reset' | 'hang' | 'garbage';
  /** Of `error`; default 500. */
  readonly status?: number;
}

const MAX_SOCKET_PATH_BYTES = 107;
const NO_RELAY = 'no-derp-connection';

/**
 * A tailscaled whose world the test decides: its LocalAPI on a unix socket, with the daemon's checks, JSON habits and bus.
 *
 * @example
 * await using daemon = new TailscaledSimulator({ socketPath, node, peers });
 * await daemon.start({ signal });
 * daemon.cutLink(); // watchers hear of it, pings get no answer
 */
export class TailscaledSimulator implements AsyncDisposable {
  readonly socketPath: string;
  readonly #capability: number;
  readonly #readers: BusReaders;
  readonly #faults: SimulatedFault[] = [];
  readonly #traffic = new Map<string, { rxBytes: number; txBytes: number }>();
  #world: SimulatedWorld;
  #server: Server | undefined;

  constructor(options: TailscaledSimulatorOptions) {
    const { socketPath, node, peers = [], backendState = 'Running', version = '1.102.5', capability = 142 } = options;
    this.socketPath = socketPath;
    this.#capability = capability;
    this.#readers = new BusReaders(version);
    const startedAt = new Date(0).toISOString();
    this.#world = { version, backendState, node, peers, traffic: this.#traffic, health: [], link: 'up', controlLinked: true, startedAt };
  }

  /** Who listens on the bus now. */
  get watchers(): number {
    return this.#readers.size;
  }
  /** Faults that have not struck yet. */
  get pendingFaults(): number {
    return this.#faults.length;
  }
  get running(): boolean {
    return this.#server !== undefined;
  }

  /**
   * The daemon starts: it listens, and its byte counters are zero. Running already: nothing happens. Rejects with `signal.reason` itself on abort.
   * @throws {BifrostError} `INVALID_OPTIONS` — the socket cannot be opened there
   */
  async start({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    if (this.#server) return;
    if (Buffer.byteLength(this.socketPath) > MAX_SOCKET_PATH_BYTES)
      throw new BifrostError({ code: 'INVALID_OPTIONS', message: `socketPath: at most ${MAX_SOCKET_PATH_BYTES} bytes` });
    this.#traffic.clear();
    this.#world = { ...this.#world, startedAt: new Date().toISOString() };
    this.#removeStaleSocket();
    const server = createServer((incoming, response) => this.#serve(incoming, response));
    server.requestTimeout = 0; // the bus is one endless answer
    await new Promise<void>((resolve, reject) => {
      server.on('error', (cause) => reject(new BifrostError({ code: 'INVALID_OPTIONS', message: 'cannot listen on socketPath', cause })));
      server.listen(this.socketPath, resolve);
    });
    this.#server = server;
    if (signal.aborted) await this.stop();
    signal.throwIfAborted();
    chmodSync(this.socketPath, 0o666);
  }

  /** The daemon is killed: connections end in the middle, the socket is gone. Not running: nothing happens. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  /** Ends the server and removes its socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** What the daemon says of itself from now on; watchers hear of it. */
  setBackendState(backendState: SimulatedBackendState): void {
    this.#change({ backendState }, () => ({ State: BACKEND_STATES.indexOf(backendState) }));
  }

  /** The machine's own facts, such as other addresses or another key expiry. */
  setNode(node: SimulatedNode): void {
    this.#change({ node }, () => ({ SelfChange: nodeJson(this.#world, node) }));
  }

  /** The network map from now on; watchers hear of it. */
  setPeers(peers: readonly SimulatedPeer[]): void {
    const removed = this.#world.peers.filter(({ id }) => !peers.some((peer) => peer.id === id)).map(({ id }) => nodeNumberOf(id));
    this.#change({ peers }, (mask) => this.#peersMessage(mask, removed));
  }

  /** The daemon's health warnings, by code. */
  setHealth(codes: readonly string[]): void {
    this.#change({ health: [...new Set(codes)].sort() }, () => ({ Health: healthJson(this.#world) }));
  }

  /** No packet reaches any peer, directly or by DERP; pings wait for ever. The link to control stays. */
  cutLink(): void {
    this.#setLink('cut');
  }

  /** Packets reach peers by DERP only. */
  relay(): void {
    this.#setLink('relayed');
  }

  /** As it was before {@link cutLink} or {@link relay}. */
  restoreLink(): void {
    this.#setLink('up');
  }

  /** The link to the control plane: without it, what is known of the tailnet stays as it is. The daemon tells nobody until its warning is due. */
  setControlLink(controlLinked: boolean): void {
    this.#world = { ...this.#world, controlLinked };
  }

  /**
   * Bytes received from and sent to a peer; like the daemon, this tells only watchers of the engine.
   * @throws {BifrostError} `INVALID_ARGUMENT` — no peer of that id
   */
  addTraffic(peerId: string, rxBytes: number, txBytes: number): void {
    if (!this.#world.peers.some(({ id }) => id === peerId))
      throw new BifrostError({
        code: 'INVALID_ARGUMENT',
        message: 'addTraffic: no peer of that id',
        issues: [{ path: 'peerId', message: 'is no peer' }],
      });
    const before = this.#traffic.get(peerId) ?? { rxBytes: 0, txBytes: 0 };
    this.#traffic.set(peerId, { rxBytes: before.rxBytes + rxBytes, txBytes: before.txBytes + txBytes });
    const engine = { RBytes: rxBytes, WBytes: txBytes, NumLive: 1, LiveDERPs: 1, LivePeers: {} };
    this.#readers.send((mask) => (mask & BUS.engineUpdates ? { Engine: engine } : undefined));
  }

  /** The next request (to the fault's endpoint) fails; those after it work again. */
  failNext(fault: SimulatedFault): void {
    this.#faults.push(fault);
  }

  #setLink(link: SimulatedWorld['link']): void {
    const others = this.#world.health.filter((code) => code !== NO_RELAY);
    const health = link === 'cut' ? [...others, NO_RELAY].sort() : others;
    const isNews = health.length !== this.#world.health.length;
    this.#change({ link, health }, (mask) => (isNews ? { Health: healthJson(this.#world) } : this.#peersMessage(mask, [])));
  }

  #change(part: Partial<SimulatedWorld>, messageFor: (mask: number) => Notify | undefined): void {
    this.#world = { ...this.#world, ...part };
    this.#readers.send(messageFor);
  }

  #peersMessage(mask: number, removed: readonly number[]): Notify | undefined {
    const nodes = this.#world.peers.map((peer) => nodeJson(this.#world, peer));
    if (mask & BUS.peerChanges) return { PeersChanged: nodes, ...(removed.length > 0 ? { PeersRemoved: removed } : {}) };
    const pushesMaps = Number(/^1\.(\d+)/.exec(this.#world.version)?.[1] ?? 0) < 100;
    return pushesMaps ? { NetMap: { Peers: nodes } } : undefined;
  }

  #serve(incoming: IncomingMessage, response: ServerResponse): void {
    incoming.resume();
    if (isForbidden(incoming)) {
      plain(response, 403, 'invalid localapi request');
      return;
    }
    response.setHeader('Tailscale-Version', this.#world.version);
    response.setHeader('Tailscale-Cap', String(this.#capability));
    response.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'");
    const request = localApiRequest(incoming, response);
    const index = this.#faults.findIndex(({ endpoint }) => endpoint === undefined || endpoint === request.endpoint);
    const [fault] = index < 0 ? [] : this.#faults.splice(index, 1);
    if (fault) this.#fail(fault, request);
    else handleLocalApi(request, { world: this.#world, readers: this.#readers });
  }

  #fail(fault: SimulatedFault, { incoming, response, endpoint }: LocalApiRequest): void {
    if (fault.kind === 'reset') incoming.socket.destroy();
    else if (fault.kind === 'garbage') response.writeHead(200, { 'content-type': 'application/json' }).end('{"BackendState":');
    else if (fault.kind === 'error') this.#answerError(response, endpoint, fault.status ?? 500);
  }

  /** The daemon's error bodies are mixed: JSON from some endpoints, plain text from the others. */
  #answerError(response: ServerResponse, endpoint: string, status: number): void {
    if (endpoint === 'ping') response.writeHead(status, { 'content-type': 'application/json' }).end('{"error":"simulated fault"}');
    else plain(response, status, 'simulated fault');
  }

  /** What a killed daemon left; never a file that is something else. */
  #removeStaleSocket(): void {
    if (lstatSync(this.socketPath, { throwIfNoEntry: false })?.isSocket()) rmSync(this.socketPath, { force: true });
  }
}
