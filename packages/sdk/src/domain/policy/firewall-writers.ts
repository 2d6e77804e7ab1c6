import type { FirewallReport, FirewallRow } from '@bifrost/types/core';
import { stringify } from 'csv-stringify/sync';

const COLUMNS = [
  { key: 'direction', header: 'direction' },
  { key: 'protocol', header: 'protocol' },
  { key: 'destination', header: 'destination' },
  { key: 'destinationPort', header: 'destination port' },
  { key: 'sourcePort', header: 'source port' },
  { key: 'need', header: 'need' },
  { key: 'purpose', header: 'purpose' },
  { key: 'why', header: 'why' },
  { key: 'status', header: 'status' },
  { key: 'evidence', header: 'evidence' },
] as const;

type Line = Readonly<Record<(typeof COLUMNS)[number]['key'], string>>;

const lineOf = ({ evidence, ...row }: FirewallRow): Line => ({
  ...row,
  evidence: evidence.map(({ router, message, at }) => `${router}: ${message} (${at.toISOString()})`).join('; '),
});

/** RFC 4180 with a heading. What a spreadsheet would take for a formula has an apostrophe before it. */
export const firewallCsv = ({ rows }: Pick<FirewallReport, 'rows'>): string =>
  stringify(rows.map(lineOf), { header: true, columns: [...COLUMNS], record_delimiter: 'windows', escape_formulas: true });

const escaped = (text: string): string => text.replace(/[\\|`*_<>[\]]/g, '\\$&').replaceAll(/[\r\n]+/g, ' ');

/** A table for a ticket or a page. */
export const firewallMarkdown = ({ rows }: Pick<FirewallReport, 'rows'>): string =>
  [COLUMNS.map(({ header }) => header), COLUMNS.map(() => '---'), ...rows.map(lineOf).map((line) => COLUMNS.map(({ key }) => escaped(line[key])))]
    .map((row) => `| ${row.join(' | ')} |\n`)
    .join('');

/** The whole report, indented; times as ISO 8601. */
export const firewallJson = (report: FirewallReport): string => `${JSON.stringify(report, undefined, 2)}\n`;
