import { parse } from 'jsonc-parser';
import { type ProvenCustomer, proveIsolation } from './prove-isolation.ts';

/** Of a finding all but where its entry stands: that changes with every entry before it. */
function keysOf(policyText: string, customers: readonly ProvenCustomer[]): readonly string[] {
  const policy = parse(policyText) as Readonly<Record<string, readonly unknown[] | undefined>> | undefined;
  return proveIsolation(policyText, customers).map(({ from, to, by }) => {
    const [section = '', index = ''] = by.split('.');
    return JSON.stringify([from, to, policy?.[section]?.[Number(index)] ?? by]);
  });
}

/** Whether a policy lets nobody reach another who does not by the one before. */
export function isNoWorse(policyText: string, beforeText: string, customers: readonly ProvenCustomer[]): boolean {
  const before = new Set(keysOf(beforeText, customers));
  return keysOf(policyText, customers).every((key) => before.has(key));
}
