import type { ServerResponse } from 'node:http';

/** Bits of `watch-ipn-bus?mask=`. */
export const BUS = {
  engineUpdates: 1,
  initialState: 2,
  initialPrefs: 4,
  initialNetMap: 8,
  initialHealth: 128,
  rateLimit: 256,
  peerChanges: 4096,
  noNetMap: 8192,
  initialStatus: 16_384,
  peerPatches: 32_768,
  inProcess: 65_536,
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

/** The mask that a query asks for; undefined when the daemon would answer 400. */
export function parseMask(text: string | null): number | undefined {
  const mask = Number(text ?? '0');
  if (!Number.isSafeInteger(mask) || mask < 0 || text === '') return undefined;
  const deltas = BUS.peerChanges | BUS.noNetMap | BUS.initialStatus | BUS.peerPatches;
  if ((mask & BUS.rateLimit && mask & deltas) || mask & BUS.inProcess) return undefined;
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
