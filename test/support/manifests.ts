import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { root } from './source-files.ts';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: unknown;
}

/** The objects of a folder's files, but for the kustomization itself. */
export function manifestsIn(folder: string): readonly Manifest[] {
  const files = globSync('*.yaml', { cwd: join(root, folder) }).filter((file) => file !== 'kustomization.yaml');
  return files
    .sort()
    .flatMap((file) => parseAllDocuments(readFileSync(join(root, folder, file), 'utf8')).map((document) => document.toJS() as Manifest));
}

/** `Kind name` of an object. */
export const titleOf = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name}`;

export const yamlOf = (path: string): unknown => parse(readFileSync(join(root, path), 'utf8'), { merge: true });

/** What lies at a path such as `spec.rules.0.name`; undefined where nothing does. */
export function at(value: unknown, path: string): unknown {
  const step = (inside: unknown, key: string): unknown => (inside as Readonly<Record<string, unknown>> | undefined)?.[key];
  return path.split('.').reduce(step, value);
}

export const listAt = (value: unknown, path: string): readonly unknown[] => (at(value, path) ?? []) as readonly unknown[];

/** Puts a value at a path whose parent is there; undefined takes it away. */
export function put(value: unknown, path: string, replacement: unknown): void {
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  const parent = (keys.length === 0 ? value : at(value, keys.join('.'))) as Record<string, unknown>;
  if (replacement === undefined) delete parent[last];
  else parent[last] = replacement;
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
/** Of `300s` or `1m`. */
export function durationMs(text: unknown): number {
  const [, amount, unit = ''] = /^(\d+)(ms|s|m|h)$/.exec(String(text)) ?? [];
  return Number(amount) * (UNITS_MS[unit] ?? Number.NaN);
}

const UNITS_BYTES: Readonly<Record<string, number>> = { '': 1, Ki: 1_024, Mi: 1_048_576 };
/** Of `64Ki`, or of a number of bytes. */
export function sizeBytes(text: unknown): number {
  const [, amount, unit = ''] = /^(\d+)(Ki|Mi|)$/.exec(String(text)) ?? [];
  return Number(amount) * (UNITS_BYTES[unit] ?? Number.NaN);
}
