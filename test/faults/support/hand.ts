import { type Admin, MERGE } from './admin.ts';
import type { Customer } from './books.ts';
import { attachmentPath, tailnetPath } from './ledger.ts';

/** A change that means nothing: the hint is what counts. */
export async function touch(admin: Admin, paths: readonly string[]): Promise<void> {
  const touched = { metadata: { annotations: { touched: String(performance.now()) } } };
  for (const path of paths) await admin.must('PATCH', path, touched, MERGE);
}

/** Hints for all that the manager keeps of a customer. */
export const touchAll = (admin: Admin, customer: Customer): Promise<void> => touch(admin, [attachmentPath(customer), tailnetPath(customer)]);

/** The customer's pods go; their workload makes others. */
export async function deletePods(admin: Admin, { id }: Pick<Customer, 'id'>): Promise<void> {
  const path = `/api/v1/namespaces/${id}/pods`;
  for (const { metadata } of await admin.list(path)) await admin.call('DELETE', `${path}/${metadata.name}`);
}
