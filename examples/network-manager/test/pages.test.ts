// The page at /docs/ asks for nothing that is not served: a path that is unknown costs its reader an attempt to be known, and a record.
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { documentation } from '../src/pages.ts';

const site = fileURLToPath(new URL('../site/', import.meta.url));
const { resolve } = createRequire(import.meta.url);
const BESIDE = ['@bifrost/types/openapi.json', 'swagger-ui-dist/swagger-ui-bundle.js', 'swagger-ui-dist/swagger-ui.css'];

describe('the page that shows the API', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-site-'));
  let pages: ReturnType<typeof documentation>;
  beforeAll(() => {
    for (const file of [...readdirSync(site).map((name) => join(site, name)), ...BESIDE.map((name) => resolve(name))])
      copyFileSync(file, join(folder, basename(file)));
    pages = documentation(pathToFileURL(`${folder}/`));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const html = readFileSync(join(site, 'index.html'), 'utf8');

  it('has all that it names, and its icon in itself: a browser asks for /favicon.ico otherwise', () => {
    const named = [...html.matchAll(/\s(?:src|href)="([^"]*)"/g)].map(([, path = '']) => path);
    const [, document = ''] = /url: '([^']+)'/.exec(readFileSync(join(site, 'start.js'), 'utf8')) ?? [];
    const icons = named.filter((path) => path.startsWith('data:'));
    expect(icons).toHaveLength(1);
    expect(html).toContain(`<link rel="icon" href="${icons[0]}">`);
    expect(Object.keys(pages)).toEqual(expect.arrayContaining([...named.filter((path) => !icons.includes(path)), document, '/docs/']));
    expect(pages['/docs/']?.body.toString()).toBe(html);
  });

  it('has nothing that its content security policy forbids: no script or style of its own text, no handler', () => {
    expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|https?:/);
  });

  it('each document says what it is, by the end of its name', () => {
    for (const [path, { contentType }] of Object.entries(pages)) expect([path, contentType]).not.toContain('application/octet-stream');
  });
});
