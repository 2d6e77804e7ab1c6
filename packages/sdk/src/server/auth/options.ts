import { z } from 'zod';
import { systemClock } from '../../adapters/system/clock.ts';
import type { Clock } from '../../ports/clock.ts';

/** A function among options. */
export const functionOption = <Wanted>(): z.ZodType<Wanted, Wanted> => z.custom<Wanted>((value) => typeof value === 'function', 'must be a function');

/** The clock among options; the system's unless given. */
export const clockOption = z
  .custom<Pick<Clock, 'nowMs'>>((value) => typeof (value as Partial<Clock> | null)?.nowMs === 'function', 'must be a Clock')
  .default(() => systemClock());
