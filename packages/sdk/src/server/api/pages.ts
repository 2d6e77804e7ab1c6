import type { Readiness } from './health.ts';
import type { HttpRequest, HttpResponse } from './rest-door.ts';

/** One document that is served to everybody. */
export interface Page {
  readonly contentType: string;
  readonly body: string | Buffer;
}

const SAFE = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
} as const;

/** What needs no credential: whether the service lives and takes calls, and the pages that describe it. */
export class Pages {
  readonly #pages: ReadonlyMap<string, Page>;
  readonly #readiness: Readiness;

  constructor(readiness: Readiness, pages: Readonly<Record<string, Page>>) {
    this.#readiness = readiness;
    this.#pages = new Map(Object.entries(pages));
  }

  /** False: it is none of these. */
  answer({ method, url = '' }: HttpRequest, response: HttpResponse): boolean {
    if (method !== 'GET' && method !== 'HEAD') return false;
    const [path = ''] = url.split('?');
    const page =
      path === '/healthz' ? word('ok') : path === '/readyz' ? word(this.#readiness.isServing ? 'ready' : 'draining') : this.#pages.get(path);
    if (page === undefined) return false;
    response.statusCode = path === '/readyz' && !this.#readiness.isServing ? 503 : 200;
    for (const [name, value] of Object.entries({ ...SAFE, 'content-type': page.contentType })) response.setHeader(name, value);
    response.end(method === 'HEAD' ? '' : page.body);
    return true;
  }
}

const word = (status: string): Page => ({ contentType: 'application/json', body: JSON.stringify({ status }) });
