import { safeText } from './safe-text.ts';

/** Columns that are as wide as their widest cell; what has no value is `-`. */
export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly (string | number | undefined)[])[];
}

const GAP = '   ';

const shown = (cell: string | number | undefined): string => (cell === undefined || cell === '' ? '-' : safeText(String(cell)));

/** One line per row. `paint` colours a cell after its width is known. */
export function tableLines({ head, rows }: Table, paint: (cell: string) => string = (cell) => cell): readonly string[] {
  const cells = rows.map((row) => row.map(shown));
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[], colour: (cell: string) => string): string =>
    row
      .map((cell, column) => colour(cell) + ' '.repeat(column === row.length - 1 ? 0 : (widths[column] ?? 0) - cell.length))
      .join(GAP)
      .trimEnd();
  return [line(head, (cell) => cell), ...cells.map((row) => line(row, paint))];
}

/** Names and values below each other. */
export function factLines(facts: readonly (readonly [name: string, value: string | number | undefined])[]): readonly string[] {
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `${`${name}:`.padEnd(width + 2)} ${shown(value)}`);
}
