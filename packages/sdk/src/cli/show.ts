import { Document, isScalar, Scalar, visit } from 'yaml';
import type { Cli } from './cli.ts';
import { isUnsafe, safeDocument, safeText } from './safe-text.ts';
import { type Table, tableLines } from './table.ts';

export const FORMATS = ['table', 'json', 'yaml'] as const;
export type Format = (typeof FORMATS)[number];

const COLOURS: Readonly<Record<string, number>> = {
  ...{ active: 32, connected: 32, ok: 32, open: 32, true: 32 },
  ...{ creating: 33, attaching: 33, detaching: 33, deleting: 33, degraded: 33, unknown: 33, warn: 33 },
  ...{ failed: 31, disconnected: 31, error: 31, fail: 31, blocked: 31 },
};

function yamlOf(json: unknown): string {
  const document = new Document(json, { aliasDuplicateObjects: false });
  visit(document, (_, node) => {
    if (isScalar(node) && typeof node.value === 'string' && isUnsafe(node.value)) node.type = Scalar.QUOTE_DOUBLE;
  });
  return document.toString({ lineWidth: 0 });
}

/** What is shown, and how: documents for programs and tables for people on one output, remarks on the other. */
export class Show {
  readonly format: Format;
  readonly #cli: Cli;
  readonly #hasColour: boolean;

  constructor(cli: Cli, format: Format) {
    this.#cli = cli;
    this.format = format;
    this.#hasColour = cli.stdout.isTTY === true && !cli.env['NO_COLOR'] && cli.env['TERM'] !== 'dumb';
  }

  get isForPeople(): boolean {
    return this.format === 'table';
  }

  /** `json` as a document, or the lines that people read instead. */
  answer(json: unknown, lines: () => readonly string[]): void {
    if (this.isForPeople) this.lines(lines());
    else this.document(json);
  }

  document(json: unknown): void {
    this.#cli.stdout.write(this.format === 'yaml' ? safeDocument(yamlOf(json)) : `${safeDocument(JSON.stringify(json, null, 2))}\n`);
  }

  /** One of many documents: a line of JSON each, or YAML with a line between. */
  item(json: unknown): void {
    this.#cli.stdout.write(this.format === 'yaml' ? `---\n${safeDocument(yamlOf(json))}` : `${safeDocument(JSON.stringify(json))}\n`);
  }

  lines(lines: readonly string[]): void {
    for (const line of lines) this.#cli.stdout.write(`${line}\n`);
  }

  /** A text of many lines for a file: what ends a line stays, whatever else a terminal would obey is escaped. */
  text(text: string): void {
    this.#cli.stdout.write(
      text
        .split(/(\r?\n)/)
        .map((part, index) => (index % 2 === 1 ? part : safeText(part)))
        .join(''),
    );
  }

  table(table: Table): readonly string[] {
    return tableLines(table, (cell) => this.paint(cell));
  }

  paint(word: string): string {
    const colour = this.#hasColour ? COLOURS[word.toLowerCase()] : undefined;
    return colour === undefined ? word : `\u001b[${colour}m${word}\u001b[0m`;
  }

  /** A remark that is no answer. */
  note(text: string): void {
    this.#cli.stderr.write(`${safeText(text)}\n`);
  }

  /** One line that follows long work: it replaces itself on a terminal, elsewhere each change is a line. */
  progress(): Progress {
    return new Progress(this.#cli);
  }
}

export class Progress implements Disposable {
  readonly #cli: Cli;
  #last = '';

  constructor(cli: Cli) {
    this.#cli = cli;
  }

  update(text: string): void {
    const line = safeText(text);
    if (line === this.#last) return;
    this.#last = line;
    this.#cli.stderr.write(this.#cli.stderr.isTTY === true ? `\r\u001b[2K${line}` : `${line}\n`);
  }

  [Symbol.dispose](): void {
    if (this.#last !== '' && this.#cli.stderr.isTTY === true) this.#cli.stderr.write('\n');
  }
}
