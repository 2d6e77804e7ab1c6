import type { Session } from '../session.ts';
import type { Check } from './check.ts';
import { serviceChecks } from './service-checks.ts';

export interface Checks extends AsyncDisposable {
  readonly checks: readonly Check[];
}

export async function checksOf(session: Session): Promise<Checks> {
  return { checks: serviceChecks(session), [Symbol.asyncDispose]: async () => {} };
}
