import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import type { Page } from '@bifrost/sdk/server';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
};

/** The OpenAPI document at `/openapi.json`, and below `/docs/` a page to browse it; the build puts both beside this program. */
export function documentation(folder: URL): Readonly<Record<string, Page>> {
  if (!existsSync(folder)) return {};
  const page = (name: string): Page => ({
    contentType: TYPES[extname(name)] ?? 'application/octet-stream',
    body: readFileSync(new URL(name, folder)),
  });
  const pages = readdirSync(folder).map((name): [string, Page] => [name === 'openapi.json' ? '/openapi.json' : `/docs/${name}`, page(name)]);
  return Object.fromEntries([
    ...pages,
    ...pages.filter(([path]) => path === '/docs/index.html').map(([, index]): [string, Page] => ['/docs/', index]),
  ]);
}
