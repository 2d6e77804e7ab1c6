import type { ServerResponse } from 'node:http';

/** Bits of `watch-ipn-bus?mask=`. */
export const BUS = {
  engineUpdates: 1,
  initialState: 2,
  initialPrefs: 4,
  initialNetMap: 8,
  initialDriveShares: 32,
  initialHealth: 128,
  rateLimit: 256,
  initialExitNode: 1024,
  initialClientVersion: 2048,
  peerChanges: 4096,
  noNetMap: 8192,
  initialStatus: 16_384,
  peerPatches: 32_768,
  inProcess: 65_536,
  policy: 131_072,
  peerStates: 262_144,
} as const;

/** The members of one message. The `null`s that Go writes are added when it is sent. */
export type Notify = Readonly<Record<string, unknown>>;
/** How many messages a reader may be behind. */
const QUEUE = 128;
const NULLS = {
  ErrMessage: null,
  LoginFinished: null,
  State: null,
  Prefs: null,
  NetMap: null,
  Engine: null,
  BrowseToURL: null,
  DriveShares: null,
} as const;

interface Reader {
  readonly response: ServerResponse;
  readonly mask: number;
  behind: number;
}

/** Bits that make a first message; health alone does not. */
const FIRST =
  BUS.initialState |
  BUS.initialPrefs |
  BUS.initialNetMap |
  BUS.initialDriveShares |
  BUS.initialExitNode |
  BUS.initialClientVersion |
  BUS.initialStatus |
  BUS.policy |
  BUS.peerStates;
export const wantsFirst = (mask: number): boolean => (mask & FIRST) !== 0;

const MAX_MASK = 2n ** 64n - 1n;
const KNOWN = 2n ** 19n - 1n;
const DELTAS = BUS.peerChanges | BUS.noNetMap | BUS.initialStatus | BUS.peerPatches;

/** The mask that a query asks for, or the text of the daemon's refusal. Bits that it does not know are ignored. */
export function parseMask(text: string | null): number | string {
  if (!text) return 0;
  if (!/^[0-9]{1,20}$/.test(text) || BigInt(text) > MAX_MASK) return 'bad mask';
  const mask = Number(BigInt(text) & KNOWN);
  if (mask & BUS.inProcess) return 'NotifyInProcessNoDisconnect is only valid for in-process IPN bus subscribers';
  if (mask & BUS.rateLimit && mask & DELTAS) return 'NotifyRateLimit is incompatible with new-style IPN bus subscription bits';
  return mask;
}

/** Everyone who listens on the bus. */
export class BusReaders {
  readonly #version: string;
  readonly #readers = new Set<Reader>();

  constructor(version: string) {
    this.#version = version;
  }

  get size(): number {
    return this.#readers.size;
  }

  /** Takes a reader in; its headers go out at once, and its first message if there is one. */
  add(response: ServerResponse, mask: number, first: Notify | undefined): void {
    const reader: Reader = { response, mask, behind: 0 };
    this.#readers.add(reader);
    response.on('close', () => this.#readers.delete(reader));
    response.on('drain', () => {
      reader.behind = 0;
    });
    response.flushHeaders();
    if (first) this.#write(reader, first);
  }

  /** Sends each reader what `messageFor` its mask makes, if anything. */
  send(messageFor: (mask: number) => Notify | undefined): void {
    for (const reader of [...this.#readers]) {
      const message = messageFor(reader.mask);
      if (message) this.#write(reader, message);
    }
  }

  #write(reader: Reader, message: Notify): void {
    if (reader.response.writableNeedDrain) reader.behind += 1;
    if (reader.behind <= QUEUE) {
      reader.response.write(this.#line(message));
      return;
    }
    this.#readers.delete(reader); // cut, as the daemon does with a reader that falls behind
    reader.response.end(this.#line({ ErrMessage: 'consumer of notifications fell behind' }));
  }

  #line(message: Notify): string {
    return `${JSON.stringify({ Version: this.#version, ...NULLS, ...message })}\n`;
  }
}
