import { type Cidr, networkOf, parseCidr } from '@bifrost/types/core';

interface Entry {
  readonly first: string;
  readonly owner: string;
}

const hex = (bytes: readonly number[]): string => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');

/** The range's first and last address as texts that sort as the addresses do. */
function endsOf({ family, bytes, prefixLength }: Cidr): { readonly first: string; readonly last: string } {
  const last = bytes.map((byte, index) => byte | (0xff >> Math.min(8, Math.max(0, prefixLength - index * 8))));
  return { first: `${family}${hex(bytes)}`, last: `${family}${hex(last)}` };
}

const keyOf = (cidr: Cidr): string => `${endsOf(cidr).first}/${cidr.prefixLength}`;

/** Whose ranges overlap a range, in about the time that the answer takes, however many ranges there are. */
export class RangeOwners {
  readonly #byRange = new Map<string, string[]>();
  readonly #sorted: readonly Entry[];

  constructor(ranges: Iterable<readonly [range: string, owner: string]>) {
    const entries: Entry[] = [];
    for (const [text, owner] of ranges) {
      const parsed = parseCidr(text);
      if (parsed === undefined) continue;
      const cidr = networkOf(parsed);
      const key = keyOf(cidr);
      const owners = this.#byRange.get(key);
      if (owners === undefined) this.#byRange.set(key, [owner]);
      else owners.push(owner);
      entries.push({ first: endsOf(cidr).first, owner });
    }
    this.#sorted = entries.sort((a, b) => (a.first < b.first ? -1 : Number(a.first > b.first)));
  }

  /** Of two ranges that overlap one contains the other: those around it are looked up by their length, those inside it lie side by side. */
  *overlapping(range: Cidr): Generator<string, void, void> {
    for (let prefixLength = 0; prefixLength < range.prefixLength; prefixLength += 1)
      yield* this.#byRange.get(keyOf(networkOf({ ...range, prefixLength }))) ?? [];
    const { first, last } = endsOf(networkOf(range));
    for (let at = this.#firstFrom(first); at < this.#sorted.length; at += 1) {
      const entry = this.#sorted[at];
      if (entry === undefined || entry.first > last) return;
      yield entry.owner;
    }
  }

  #firstFrom(first: string): number {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#sorted[middle]?.first ?? '') < first) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
