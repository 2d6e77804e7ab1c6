import type { Node } from 'jsonc-parser';

/** A replacement in a text. Edits of one list never overlap. */
export interface Edit {
  readonly offset: number;
  readonly length: number;
  readonly text: string;
}

/** Where the comma stands that follows, over white space and comments; undefined when none does. */
function commaAfter(text: string, offset: number): number | undefined {
  const trivia = /(?:\s|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*/y;
  trivia.lastIndex = offset;
  trivia.exec(text);
  return text[trivia.lastIndex] === ',' ? trivia.lastIndex : undefined;
}

/** Spaces at the beginning of the line on which something stands. */
function indentOf(text: string, offset: number): string {
  const line = text.lastIndexOf('\n', offset - 1) + 1;
  return /^[ \t]*/.exec(text.slice(line, offset))?.[0] ?? '';
}

/** The item with its comma. Comments around it stay: nobody knows whether they speak of it alone. */
function removal(text: string, { offset, length }: Node): readonly Edit[] {
  const comma = commaAfter(text, offset + length);
  const item = { offset, length, text: '' };
  return comma === undefined ? [item] : [item, { offset: comma, length: 1, text: '' }];
}

/**
 * Takes items out of a list or an object, and puts others at its end. `put` are items as JSON, of an object with their names. What stays keeps its place
 * and its comments.
 */
export function containerEdits(
  text: string,
  container: Node,
  { take = new Set(), put }: { readonly take?: ReadonlySet<Node>; readonly put: readonly string[] },
): readonly Edit[] {
  const children = container.children ?? [];
  const removals = children.filter((child) => take.has(child)).flatMap((child) => removal(text, child));
  if (put.length === 0) return removals;
  const last = children.findLast((child) => !take.has(child));
  const end = last === undefined ? 0 : last.offset + last.length;
  const comma: readonly Edit[] = last === undefined || commaAfter(text, end) !== undefined ? [] : [{ offset: end, length: 0, text: ',' }];
  const indent = indentOf(text, container.offset);
  const lines = put.map((item) => `\n${indent}  ${item.replaceAll('\n', `\n${indent}  `)}`);
  return [...removals, ...comma, { offset: container.offset + container.length - 1, length: 0, text: `${lines.join(',')}\n${indent}` }];
}

/** Makes the edits, from the end on, so that offsets stay what they are. Of two at one place the first comes first. */
export const applyEdits = (text: string, edits: readonly Edit[]): string =>
  edits
    .map((edit, index) => ({ ...edit, index }))
    .sort((a, b) => b.offset - a.offset || b.index - a.index)
    .reduce((result, { offset, length, text: put }) => result.slice(0, offset) + put + result.slice(offset + length), text);
