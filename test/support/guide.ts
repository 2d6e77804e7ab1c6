import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './source-files.ts';

export interface GuideBlock {
  /** What stands behind the three ticks: `sh` for commands, nothing for what they print. */
  readonly language: string;
  readonly text: string;
}

/** The blocks of a page, in their order. */
export const blocksOf = (page: string): readonly GuideBlock[] =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({ language, text }));
