import { type Cidr, type IpAddress, networkOf, parseCidr } from '@bifrost/types/core';
import type { PolicyPeerShape } from '../network-policy-shape.ts';
import { rangesOf } from './address-points.ts';

type Part = readonly [from: number, until: number];

/** A text that sorts as the addresses do, IPv4 before IPv6. */
const textOf = ({ family, bytes }: IpAddress): string => `${family}${bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;

/** The last address of a range. */
export const lastOf = ({ family, bytes, prefixLength }: Cidr): IpAddress => ({
  family,
  bytes: bytes.map((byte, index) => byte | (0xff >> Math.min(8, Math.max(0, prefixLength - index * 8)))),
});

/** What stands at addresses, in their order: who is in a block is found without looking at everybody. */
export class AddressOrder<Value> {
  readonly #sorted: readonly (readonly [text: string, value: Value])[];

  constructor(entries: Iterable<readonly [address: IpAddress, value: Value]>) {
    const texts = [...entries].map(([address, value]) => [textOf(address), value] as const);
    this.#sorted = texts.sort(([a], [b]) => (a < b ? -1 : Number(a > b)));
  }

  /** A block that cannot be read holds everybody, a hole that cannot be read takes nobody out. */
  in({ cidr, except = [] }: NonNullable<PolicyPeerShape['ipBlock']>): readonly Value[] {
    const block = parseCidr(cidr);
    const whole: Part = block === undefined ? [0, this.#sorted.length] : this.#partOf(block);
    const holes = rangesOf(except)
      .map((hole) => this.#partOf(hole))
      .sort(([a], [b]) => a - b);
    const found: Value[] = [];
    let [from] = whole;
    const [, until] = whole;
    for (const [start, end] of [...holes, [until, until] as const]) {
      for (const [, value] of this.#sorted.slice(from, Math.max(from, Math.min(start, until)))) found.push(value);
      from = Math.max(from, end);
    }
    return found;
  }

  #partOf(range: Cidr): Part {
    const [first, last] = [textOf(networkOf(range)), textOf(lastOf(range))];
    return [this.#firstWhere((text) => text >= first), this.#firstWhere((text) => text > last)];
  }

  #firstWhere(isBeyond: (text: string) => boolean): number {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBeyond(this.#sorted[middle]?.[0] ?? '')) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
