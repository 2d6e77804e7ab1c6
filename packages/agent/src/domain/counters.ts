import type { DaemonPeer } from './daemon.ts';

export interface Traffic {
  readonly rxBytes: number;
  readonly txBytes: number;
}
interface Account {
  lastRx: number;
  lastTx: number;
  rxBytes: number;
  txBytes: number;
}

/** Peers that are gone are remembered up to this number, so that one that comes back goes on counting. */
const MAX_ACCOUNTS = 4096;
const NOTHING: Traffic = { rxBytes: 0, txBytes: 0 };

/**
 * Byte counters that never go down. The daemon's own start again at zero when it restarts, when a peer leaves, and when a quiet
 * peer is dropped from its engine, so only differences are added up.
 */
export class TrafficCounters {
  readonly #accounts = new Map<string, Account>();
  #rxBytes = 0;
  #txBytes = 0;

  get total(): Traffic {
    return { rxBytes: this.#rxBytes, txBytes: this.#txBytes };
  }

  of(peerId: string): Traffic {
    const account = this.#accounts.get(peerId);
    return account ? { rxBytes: account.rxBytes, txBytes: account.txBytes } : NOTHING;
  }

  /** Takes the daemon's present figures as where counting starts: what flowed before belongs to an earlier agent. */
  start(peers: readonly DaemonPeer[]): void {
    for (const { id, rxBytes, txBytes } of peers) this.#accounts.set(id, { lastRx: rxBytes, lastTx: txBytes, rxBytes: 0, txBytes: 0 });
  }

  /** Adds what flowed since the last look. */
  observe(peers: readonly DaemonPeer[]): void {
    const present = new Set<string>();
    for (const { id, rxBytes, txBytes } of peers) {
      present.add(id);
      const account = this.#accounts.get(id) ?? { lastRx: 0, lastTx: 0, rxBytes: 0, txBytes: 0 };
      const rx = rxBytes >= account.lastRx ? rxBytes - account.lastRx : rxBytes;
      const tx = txBytes >= account.lastTx ? txBytes - account.lastTx : txBytes;
      this.#rxBytes += rx;
      this.#txBytes += tx;
      this.#accounts.set(id, { lastRx: rxBytes, lastTx: txBytes, rxBytes: account.rxBytes + rx, txBytes: account.txBytes + tx });
    }
    this.#settleAbsent(present);
  }

  /** The daemon is certainly another one from now on: its counters start at zero. */
  daemonEnded(): void {
    this.#settleAbsent(new Set());
  }

  #settleAbsent(present: ReadonlySet<string>): void {
    for (const [id, account] of this.#accounts) {
      if (present.has(id)) continue;
      if (this.#accounts.size > MAX_ACCOUNTS) this.#accounts.delete(id);
      else [account.lastRx, account.lastTx] = [0, 0];
    }
  }
}
