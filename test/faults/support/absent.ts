import type { Customer } from './books.ts';
import { type Exchange, passOn, type Treat } from './exchange.ts';
import { refused } from './faults.ts';

/** So long what is there is answered as if it was not made yet: shorter than the loop misses something before it takes it for gone. */
export const ABSENT_FOR_MS = 1_200;

const notFound = refused({ code: 404, reason: 'NotFound' });

const isOf = ({ side, customer, method }: Exchange, { id }: Customer): boolean => side === 'kubernetes' && customer === id && method === 'GET';
/** A read of one object, whole or its metadata. */
const isOfOne = ({ operation }: Exchange): boolean => operation.endsWith('.get') || operation === 'secrets.metadata';

/** An answer from before it was made, for everything of one kind that there is; each for a while from when it is first asked for. */
export function absentYet(customer: Customer, operations: readonly string[]): Treat {
  const askedAtMs = new Map<string, number>();
  return (exchange) => {
    if (!isOf(exchange, customer) || !operations.includes(exchange.operation)) return undefined;
    return isYoung(askedAtMs, exchange.target) ? notFound : undefined;
  };
}

/** Each object, for a while from when it is first asked for and is there: whoever has been answered that there is none is answered so again. */
export function absentAtFirst(customer: Customer): Treat {
  const foundAtMs = new Map<string, number>();
  return (exchange) => {
    if (!isOf(exchange, customer) || !isOfOne(exchange)) return undefined;
    return async (given) => {
      exchange.isFaulted = false;
      const { statusCode } = await given.forward();
      if (statusCode === 200 && isYoung(foundAtMs, exchange.target)) {
        exchange.isFaulted = true;
        await notFound(given);
      } else await passOn(given);
    };
  };
}

function isYoung(foundAtMs: Map<string, number>, target: string): boolean {
  const nowMs = performance.now();
  const sinceMs = foundAtMs.get(target) ?? nowMs;
  foundAtMs.set(target, sinceMs);
  return nowMs - sinceMs < ABSENT_FOR_MS;
}
