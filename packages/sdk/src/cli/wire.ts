import type { DescEnum } from '@bufbuild/protobuf';
import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';

export { wireOf } from '../server/api/fields.ts';

/** The word for an enum's value; none for its zero. A value of a newer service is told as its number. */
export function wordOf(desc: DescEnum, value: number): string {
  if (value === 0) return '';
  return (desc.values.find(({ number }) => number === value)?.name ?? String(value)).replaceAll('_', '-');
}

/** The value of a word that was chosen among those of {@link wordsOf}. */
export const numberOf = (desc: DescEnum, word: string | undefined): number =>
  desc.values.find(({ name }) => name.replaceAll('_', '-') === word)?.number ?? 0;

export const wordsOf = (desc: DescEnum): readonly string[] =>
  desc.values.filter(({ number }) => number !== 0).map(({ name }) => name.replaceAll('_', '-'));

export const timeMs = (time: Timestamp | undefined): number | undefined => (time === undefined ? undefined : timestampDate(time).getTime());
