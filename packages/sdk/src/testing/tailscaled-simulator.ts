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
  type SimulatedChecks,
  type SimulatedNode,
  type SimulatedPeer,
  type SimulatedWarning,
  type SimulatedWorld,
} from './tailscaled-simulator-json.ts';
import type { SimulatedFault, TailscaledSimulatorOptions } from './tailscaled-simulator-options.ts';
import { handleLocalApi, isForbidden, type LocalApiRequest, localApiRequest, peerStates, plain } from './tailscaled-simulator-routes.ts';
import { prefsJson } from './tailscaled-simulator-settings.ts';

export type { SimulatedBackendState, SimulatedChecks, SimulatedNode, SimulatedPeer, SimulatedWarning } from './tailscaled-simulator-json.ts';
export type { SimulatedFault, TailscaledSimulatorOptions } from './tailscaled-simulator-options.ts';

const MAX_SOCKET_PATH_BYTES = 107;
const NO_RELAY: SimulatedWarning = { code: 'no-derp-connection', impactsConnectivity: true };
/** A session gets new keys after that. */
const REKEY_MS = 120_000;
const POLICY = "default-src 'none'; frame-ancestors 'none'; script-src 'none'; script-src-elem 'none'; script-src-attr 'none'";

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
  readonly #withoutEndpoints: readonly string[];
  readonly #refusedBusBits: number;
  readonly #readers: BusReaders;
  readonly #faults: SimulatedFault[] = [];
  readonly #requests = new Map<string, number>();
  readonly #traffic = new Map<string, { rxBytes: number; txBytes: number }>();
  readonly #handshakes = new Map<string, string>();
  /** While it is frozen: what it would have done since. */
  #held: (() => void)[] | undefined;
  #world: SimulatedWorld;
  #server: Server | undefined;

  constructor(options: TailscaledSimulatorOptions) {
    const { socketPath, node, peers = [], backendState = 'Running', version = '1.102.5', capability = 142, controlUrl = '' } = options;
    this.socketPath = socketPath;
    this.#capability = capability;
    this.#withoutEndpoints = options.withoutEndpoints ?? [];
    this.#refusedBusBits = options.refusedBusBits ?? 0;
    this.#readers = new BusReaders(version);
    this.#world = {
      ...{ version, backendState, node, peers, controlUrl, health: [], link: 'up', controlLinked: true },
      ...{ traffic: this.#traffic, handshakes: this.#handshakes, drops: { inbound: 0, outbound: 0 } },
      checks: { 'ip-forwarding': '', 'udp-gro-forwarding': '' },
      startedAt: new Date(0).toISOString(),
    };
  }

  /** Who listens on the bus now. */
  get watchers(): number {
    return this.#readers.size;
  }
  /** Faults that have not struck yet. */
  get pendingFaults(): number {
    return this.#faults.length;
  }
  /** Requests to an endpoint, such as `status`, that were taken so far; those that wait while it is frozen are not among them. */
  requests(endpoint: string): number {
    return this.#requests.get(endpoint) ?? 0;
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
    this.#handshakes.clear();
    this.#world = { ...this.#world, drops: { inbound: 0, outbound: 0 }, startedAt: new Date().toISOString() };
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
    this.#held = undefined;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  /** Ends the server and removes its socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** What the daemon says of itself from now on; watchers hear of it. `Stopped` is what `tailscale down` makes of it: its settings and a warning say so. */
  setBackendState(backendState: SimulatedBackendState): void {
    const isTurned = (this.#world.backendState === 'Stopped') !== (backendState === 'Stopped');
    this.#change({ backendState }, () => ({ State: BACKEND_STATES.indexOf(backendState) }));
    if (!isTurned) return;
    this.#tell(() => ({ Prefs: prefsJson(this.#world) }));
    this.#tell(() => ({ Health: healthJson(this.#world) }));
  }

  /** It hangs: connections are accepted, nothing is answered, the bus is silent; until {@link thaw}, or until it is killed. */
  freeze(): void {
    this.#held ??= [];
  }

  /** It does what it would have done since {@link freeze}. */
  thaw(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const act of held) act();
  }

  /** The machine's own facts, such as other addresses, another key expiry, other routes of its own. */
  setNode(node: SimulatedNode): void {
    this.#change({ node }, () => ({ Prefs: prefsJson(this.#world), SelfChange: nodeJson(this.#world, node) }));
  }

  /** The network map from now on; watchers hear of it. */
  setPeers(peers: readonly SimulatedPeer[]): void {
    const removed = this.#world.peers.filter(({ id }) => !peers.some((peer) => peer.id === id)).map(({ id }) => nodeNumberOf(id));
    this.#change({ peers }, (mask) => this.#peersMessage(mask, removed));
  }

  /** The daemon's health warnings; a code alone is a medium one. */
  setHealth(warnings: readonly (string | SimulatedWarning)[]): void {
    const byCode = new Map(warnings.map((warning) => (typeof warning === 'string' ? { code: warning } : warning)).map((each) => [each.code, each]));
    const health = [...byCode.values()].sort((a, b) => (a.code < b.code ? -1 : 1));
    this.#change({ health }, () => ({ Health: healthJson(this.#world) }));
  }

  /** What the daemon's check of its surroundings finds from now on; empty: all is well. */
  setCheck(check: keyof SimulatedChecks, warning: string): void {
    this.#world = { ...this.#world, checks: { ...this.#world.checks, [check]: warning } };
  }

  /** Packets that the daemon drops because of errors. */
  addDrops(direction: 'inbound' | 'outbound', count: number): void {
    const { drops } = this.#world;
    this.#world = { ...this.#world, drops: { ...drops, [direction]: drops[direction] + count } };
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
    this.#tell((mask) => (mask & BUS.engineUpdates ? { Engine: engine } : undefined));
    this.#handshake(peerId);
  }

  /** The next request (to the fault's endpoint) fails; those after it work again. */
  failNext(fault: SimulatedFault): void {
    this.#faults.push(fault);
  }

  #handshake(peerId: string): void {
    const last = this.#handshakes.get(peerId);
    if (last !== undefined && Date.now() - Date.parse(last) < REKEY_MS) return;
    const at = new Date().toISOString();
    this.#handshakes.set(peerId, at);
    this.#tell((mask) => (mask & BUS.peerStates ? { PeerState: peerStates([[peerId, at]]) } : undefined));
  }

  #setLink(link: SimulatedWorld['link']): void {
    const others = this.#world.health.filter(({ code }) => code !== NO_RELAY.code);
    const health = link === 'cut' ? [...others, NO_RELAY].sort((a, b) => (a.code < b.code ? -1 : 1)) : others;
    const isNews = health.length !== this.#world.health.length;
    this.#change({ link, health }, (mask) => (isNews ? { Health: healthJson(this.#world) } : this.#peersMessage(mask, [])));
  }

  #change(part: Partial<SimulatedWorld>, messageFor: (mask: number) => Notify | undefined): void {
    this.#world = { ...this.#world, ...part };
    this.#tell(messageFor);
  }

  #tell(messageFor: (mask: number) => Notify | undefined): void {
    if (this.#held) this.#held.push(() => this.#readers.send(messageFor));
    else this.#readers.send(messageFor);
  }

  #peersMessage(mask: number, removed: readonly number[]): Notify | undefined {
    const nodes = this.#world.peers.map((peer) => nodeJson(this.#world, peer));
    if (mask & BUS.peerChanges) return { PeersChanged: nodes, ...(removed.length > 0 ? { PeersRemoved: removed } : {}) };
    const pushesMaps = Number(/^1\.(\d+)/.exec(this.#world.version)?.[1] ?? 0) < 100;
    return pushesMaps ? { NetMap: { Peers: nodes } } : undefined;
  }

  #serve(incoming: IncomingMessage, response: ServerResponse): void {
    incoming.resume();
    if (this.#held) {
      this.#held.push(() => this.#serve(incoming, response));
      return;
    }
    if (isForbidden(incoming)) {
      plain(response, 403, 'invalid localapi request');
      return;
    }
    response.setHeader('Tailscale-Version', this.#world.version);
    response.setHeader('Tailscale-Cap', String(this.#capability));
    response.setHeader('Content-Security-Policy', POLICY);
    response.setHeader('X-Frame-Options', 'DENY');
    response.setHeader('X-Content-Type-Options', 'nosniff');
    const request = localApiRequest(incoming, response);
    this.#requests.set(request.endpoint, this.requests(request.endpoint) + 1);
    const index = this.#faults.findIndex(({ endpoint }) => endpoint === undefined || endpoint === request.endpoint);
    const [fault] = index < 0 ? [] : this.#faults.splice(index, 1);
    if (fault) this.#fail(fault, request);
    else if (this.#withoutEndpoints.includes(request.endpoint)) plain(response, 404, '404 page not found');
    else handleLocalApi(request, { world: this.#world, readers: this.#readers, refusedBusBits: this.#refusedBusBits });
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
