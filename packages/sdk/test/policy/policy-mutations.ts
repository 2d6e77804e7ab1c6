// Every flip of an entry in a policy that was read back, with what must be found of it.
import type { ProofFinding } from '@bifrost/types/core';
import { parse } from 'jsonc-parser';
import { changed, type Read } from './evidence.ts';
import { type NaivePacket, naively } from './naive.ts';
import { ADDRESSES, type Customer, isIn, isWanted } from './worlds.ts';

/** What was read back with one thing changed. */
export interface Mutation {
  readonly what: string;
  readonly read: Read;
  /** What some finding must say. Undefined: it opens nothing, and nothing is to be found. */
  readonly names: Partial<ProofFinding> | undefined;
}

export interface Policy {
  readonly grants: readonly {
    readonly src: readonly string[];
    readonly dst: readonly string[];
    readonly ip: readonly string[];
    readonly via?: readonly string[];
  }[];
}

/** Whether some address of these ranges is one of the customer's too: only then does it matter by whose router, or book, one goes. */
const meets = (ranges: readonly string[], { book, router }: Customer): boolean =>
  ADDRESSES.some(
    (address) => ranges.some((range) => isIn(address, range)) && [...book.routes, ...router.routes].some((range) => isIn(address, range)),
  );

/** Packets of a customer's book to a port of what its intent does not let it reach: devices, its own too, and what lies behind them. */
function unwanted({ book, router, member: { config } }: Customer): readonly NaivePacket[] {
  const asked = { from: book, port: 443, protocol: 'tcp' } as const;
  return [book, router].flatMap((to) => [
    ...(config.accessPolicy === 'restrictive' ? to.addresses.map((address) => ({ ...asked, to, address })) : []),
    ...ADDRESSES.filter((address) => !isWanted(config, address)).map((address) => ({ ...asked, to, address })),
  ]);
}

/** Grants that are there, each changed by hand, and one that is added. */
export function grantMutations(read: Read, customers: readonly Customer[], isShared: boolean): readonly Mutation[] {
  return Object.entries(read.policy ?? {}).flatMap(([key, text]) => {
    const policy = parse(text) as Policy;
    const kind = isShared ? 'reaches-other-customer' : 'beyond-intent';
    const rewritten = (what: string, index: number, grants: readonly object[], ofKind: ProofFinding['kind'] = kind): Mutation => ({
      what: `${what} of grant ${index} in ${key}`,
      read: changed(read, ['policy', key], () => JSON.stringify({ ...policy, grants })),
      names: { layer: 'tailnet-policy', kind: ofKind, by: `grants.${index}`, where: `policy ${key}` },
    });
    /** More ports of whatever a grant is for lead to nobody else; a book's ping to its routers becomes a way to their ports. */
    const widened = (index: number): Mutation => {
      const grants = with_(index, { ip: ['*'] });
      const letting = naively(JSON.stringify({ grants }));
      const isFound = customers.some((customer) => unwanted(customer).some((packet) => letting(packet).includes(`grants.${index}`)));
      const whole = rewritten('all ports', index, grants, 'beyond-intent');
      return isFound ? whole : { ...whole, names: undefined };
    };
    const with_ = (index: number, change: object): readonly object[] =>
      policy.grants.map((grant, at) => (at === index ? { ...grant, ...change } : grant));
    const added = { src: ['*'], dst: ['*'], ip: ['*'] };
    const changes = policy.grants.flatMap((grant, index): readonly Mutation[] => {
      const owner = customers.find(({ member }) =>
        [...grant.src, ...grant.dst].some((tag) => [...member.sourceTags, member.routerTag].includes(tag)),
      );
      const other = customers.find((customer) => customer !== owner) as Customer;
      // What routers may reach is no book's.
      if (!isShared)
        return [
          widened(index),
          ...(grant.src.every((tag) => tag.includes('router')) ? [] : [rewritten('everything as destination', index, with_(index, { dst: ['*'] }))]),
        ];
      const way = grant.via?.some((tag) => tag.includes('router')) ? other.member.routerTag : String(other.book.tags.at(-1));
      return [
        widened(index),
        rewritten('everybody as source', index, with_(index, { src: ['*'] })),
        rewritten('another’s source', index, with_(index, { src: [...grant.src, ...other.member.sourceTags] })),
        ...(grant.via === undefined
          ? [rewritten('another’s device as destination', index, with_(index, { dst: [...grant.dst, other.member.routerTag] }))]
          : []),
        ...(grant.via !== undefined && meets(grant.dst, other)
          ? [rewritten('no way', index, with_(index, { via: undefined })), rewritten('another’s device as way', index, with_(index, { via: [way] }))]
          : []),
      ];
    });
    return [...changes, rewritten('an open grant', policy.grants.length, [...policy.grants, added])];
  });
}
