/** One figure, as the last line of a bench says it. */
export interface BenchResult {
  readonly name: string;
  readonly ours: number;
  readonly baseline: number;
  readonly ratio: number;
  readonly unit: string;
  readonly [detail: string]: unknown;
}

export interface BenchOptions {
  /** A smoke run: small sizes, to see that the bench works; its figures mean little. */
  readonly smoke: boolean;
  readonly say: (line: string) => void;
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
};

export const percentile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN;

export const rounded = (value: number, digits = 3): number => Number(value.toPrecision(digits));

/** Runs blocks of both in turn (A B, B A, A B, ...), so that a drift of the machine meets both, and gives each side's figures. */
export async function alternating(
  rounds: number,
  ours: (round: number) => Promise<number>,
  baseline: (round: number) => Promise<number>,
): Promise<{ readonly ours: readonly number[]; readonly baseline: readonly number[] }> {
  const figures = { ours: [] as number[], baseline: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    const turns = round % 2 === 0 ? (['ours', 'baseline'] as const) : (['baseline', 'ours'] as const);
    for (const turn of turns) figures[turn].push(await (turn === 'ours' ? ours(round) : baseline(round)));
  }
  return figures;
}

/** The median of each side, and of the pairwise ratios. */
export const compared = (figures: { readonly ours: readonly number[]; readonly baseline: readonly number[] }) => ({
  ours: rounded(median(figures.ours)),
  baseline: rounded(median(figures.baseline)),
  ratio: rounded(median(figures.ours.map((value, index) => value / (figures.baseline[index] ?? Number.NaN)))),
});
