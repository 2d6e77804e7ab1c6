import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ApiObject } from '../src/adapters/kubernetes/api-types.ts';
import { type Change, ListWatch, type ListWatchOptions } from '../src/adapters/kubernetes/list-watch.ts';
import { type KubernetesOptions, kubernetes } from '../src/kubernetes.ts';
import type { LogFields } from '../src/ports/logger.ts';
import { events, type FakeServer, type Handler, json, list, startFakeServer, status, text } from './kubernetes-fake-server.ts';

const stack: AsyncDisposable[] = [];
afterEach(async () => {
  for (const item of stack.splice(0).reverse()) await item[Symbol.asyncDispose]();
});

const object = (uid: string, resourceVersion = '1'): ApiObject => ({ metadata: { uid, name: `name-${uid}`, resourceVersion } });
const event = (type: string, uid: string, resourceVersion: string): unknown => ({ type, object: { kind: 'Pod', ...object(uid, resourceVersion) } });
const bookmark = (resourceVersion: string): unknown => ({ type: 'BOOKMARK', object: { kind: 'Pod', metadata: { resourceVersion } } });

interface Bench {
  readonly server: FakeServer;
  readonly watch: ListWatch<ApiObject, string>;
  readonly seen: string[];
  readonly logged: string[];
}

async function open(options: Partial<ListWatchOptions<ApiObject, string>> = {}, connected: Pick<KubernetesOptions, 'relistMs'> = {}): Promise<Bench> {
  const logged: string[] = [];
  const log = (level: string, message: string, fields: LogFields = {}): void => void logged.push(`${level} ${message} ${fields['code'] ?? ''}`);
  const server = await startFakeServer();
  const connection = kubernetes({ kubeconfig: server.kubeconfig(), logger: { log }, ...connected });
  const backoff = { minMs: 1, maxMs: 5 };
  const project = ({ metadata }: ApiObject): string => `${metadata.uid}@${metadata.resourceVersion}`;
  const watch = new ListWatch<ApiObject, string>({
    connection,
    operations: { list: 'pods.list', watch: 'pods.watch' },
    kind: 'Pod',
    path: '/api/v1/pods',
    labelSelector: 'l',
    project,
    backoff,
    ...options,
  });
  stack.push(server, connection, watch);
  return { server, watch, seen: [], logged };
}

const patient = { interval: 5, timeout: 10_000 };
const follow = ({ watch, seen }: Bench): Disposable =>
  watch.subscribe(({ kind, item }: Change<string>) => {
    seen.push(`${kind} ${item}`);
  });
const told = (bench: Bench, expected: readonly string[]): Promise<void> => vi.waitFor(() => expect(bench.seen).toEqual(expected), patient);
const watches = ({ server }: Bench): (string | null)[] =>
  server.received.filter(({ query }) => query.get('watch') === 'true').map(({ query }) => query.get('resourceVersion'));

describe('ListWatch', () => {
  it('lists page by page, then watches from that version; bookmarks move it', async () => {
    const bench = await open({ pageSize: 2 });
    bench.server.next(
      list([object('a'), object('b')], '10', 'more'),
      list([object('c')], '10'),
      events([event('ADDED', 'd', '11'), event('DELETED', 'a', '12'), bookmark('20')], true),
      events([]),
    );
    using _subscription = follow(bench);
    await told(bench, ['present a@1', 'present b@1', 'present c@1', 'present d@11', 'gone a@12']);
    await vi.waitFor(() => expect(watches(bench)).toEqual(['10', '20']), patient);
    expect([...bench.watch.items.keys()]).toEqual(['b', 'c', 'd']);
    const [first, second, third] = bench.server.received;
    expect(
      [first, second].map((request) => [request?.query.get('limit'), request?.query.get('continue'), request?.query.get('labelSelector')]),
    ).toEqual([
      ['2', null, 'l'],
      ['2', 'more', 'l'],
    ]);
    expect(third?.query.get('allowWatchBookmarks')).toBe('true');
    expect(Number(third?.query.get('timeoutSeconds'))).toBeGreaterThan(200);
  });

  it('a broken connection, a line of garbage and a 500 are begun again where they stopped, without a new list', async () => {
    const bench = await open();
    bench.server.next(
      list([], '10'),
      (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.write(`${JSON.stringify(event('ADDED', 'a', '11'))}\n{"half`);
        setImmediate(() => response.destroy());
      },
      events([event('ADDED', 'b', '12'), 'garbage']),
      status(500, 'InternalError'),
      text('<html>', 'text/html', 502),
      events([event('ADDED', 'c', '13')]),
    );
    using _subscription = follow(bench);
    await told(bench, ['present a@11', 'present b@12', 'present c@13']);
    expect(watches(bench)).toEqual(['10', '11', '12', '12', '12']);
    expect(bench.logged.filter((line) => line.endsWith('CLUSTER_UNAVAILABLE'))).toHaveLength(4);
  });

  it.each([
    ['an event', events([{ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } }])],
    ['an answer', status(410, 'Expired')],
  ])('410 as %s lists anew: what changed is told, and what went meanwhile as gone', async (_, expired) => {
    const bench = await open();
    bench.server.next(list([object('a'), object('b')], '10'), expired, list([object('b', '5'), object('c')], '30'), events([]));
    using _subscription = follow(bench);
    await told(bench, ['present a@1', 'present b@1', 'gone a@1', 'present b@5', 'present c@1']);
    await vi.waitFor(() => expect(watches(bench)).toEqual(['10', '30']), patient);
  });

  it('silence is a dead connection', async () => {
    const bench = await open({ idleTimeoutMs: 300 });
    bench.server.next(list([], '10'), events([event('ADDED', 'a', '11')]), events([event('ADDED', 'b', '12')]));
    using _subscription = follow(bench);
    await told(bench, ['present a@11', 'present b@12']);
    expect(watches(bench).slice(0, 2)).toEqual(['10', '11']);
  });

  it('bug: an event that never came is found by listing anew after a time; what has not changed is not told again', async () => {
    const bench = await open({}, { relistMs: 100 });
    let lists = 0;
    // By what is asked for: on a busy machine its time may be over before the watch is there.
    bench.server.otherwise((received, response) => {
      if (received.query.get('watch') === 'true') return events([])(received, response);
      lists += 1;
      return (lists === 1 ? list([object('a'), object('b')], '10') : list([object('b'), object('c', '12')], '12'))(received, response);
    });
    using _subscription = follow(bench);
    await told(bench, ['present a@1', 'present b@1', 'gone a@1', 'present c@12']);
    expect(bench.logged).toEqual([]); // it is no trouble
  });

  it('bug: an event older than one before it makes the cache doubtful: it is listed anew', async () => {
    const bench = await open();
    bench.server.next(
      list([object('a', '5')], '10'),
      events([event('DELETED', 'a', '12'), event('MODIFIED', 'a', '11'), event('ADDED', 'b', '13')]),
      list([object('b', '13')], '13'),
      events([]),
    );
    using _subscription = follow(bench);
    await told(bench, ['present a@5', 'gone a@12', 'present b@13']);
    expect([...bench.watch.items.keys()]).toEqual(['b']);
    expect(bench.logged).toEqual(['warn a watch broke; it is begun again CLUSTER_UNAVAILABLE']);
  });

  const said = (changes: object): Handler => json({ kind: 'PodList', apiVersion: 'v1', metadata: { resourceVersion: '30' }, items: [], ...changes });
  const EXPIRED = { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } };

  it.each([
    ['without items', [said({ items: undefined })]],
    ['with a text for items', [said({ items: 'x' })]],
    ['with an item that is null', [said({ items: [object('a'), null] })]],
    ['with an item without uid', [said({ items: [object('a'), { metadata: { name: 'b', resourceVersion: '1' } }] })]],
    ['without a version', [said({ metadata: {} })]],
    ['whose version is a number', [said({ metadata: { resourceVersion: 30 } })]],
    ['of another kind', [said({ kind: 'NodeList' })]],
    ['of metadata that nobody asked for', [said({ kind: 'PartialObjectMetadataList' })]],
    ['that is an object', [json({ kind: 'ConfigMap', apiVersion: 'v1', metadata: { resourceVersion: '30' } })]],
    ['whose second page has no items', [list([object('a')], '30', 'more'), said({ items: undefined })]],
  ])('bug: an answer %s forgets nothing, and nobody is told that anything went', async (_, answers) => {
    const bench = await open();
    bench.server.next(list([object('a'), object('b')], '10'), events([EXPIRED]), ...answers);
    bench.server.next(list([object('a'), object('b')], '40'), events([event('ADDED', 'c', '41')]));
    using _subscription = follow(bench);
    await told(bench, ['present a@1', 'present b@1', 'present c@41']);
    expect(watches(bench)).toEqual(['10', '40']);
    expect(bench.logged).toEqual(Array(2).fill('warn a watch broke; it is begun again CLUSTER_UNAVAILABLE'));
  });

  it('a list whose items are null, as Go writes none, is empty: what was there went', async () => {
    const bench = await open();
    bench.server.next(list([object('a'), object('b')], '10'), events([EXPIRED]), said({ items: null }), events([]));
    using _subscription = follow(bench);
    await told(bench, ['present a@1', 'present b@1', 'gone a@1', 'gone b@1']);
  });

  it.each([
    ['an event without object', { type: 'DELETED' }],
    ['an object without metadata', { type: 'DELETED', object: { kind: 'Pod' } }],
    ['an object without version', { type: 'DELETED', object: { kind: 'Pod', metadata: { name: 'name-a', uid: 'a' } } }],
    [
      'an object whose version is a number',
      { type: 'DELETED', object: { kind: 'Pod', metadata: { name: 'name-a', uid: 'a', resourceVersion: 11 } } },
    ],
    ['an object without uid', { type: 'ADDED', object: { kind: 'Pod', metadata: { name: 'name-b', resourceVersion: '11' } } }],
    ['an object without kind', { type: 'DELETED', object: object('a', '11') }],
    ['an object of another kind', { type: 'DELETED', object: { ...object('a', '11'), kind: 'Node' } }],
    ['a type that is not known', { type: 'RENAMED', object: { ...object('a', '11'), kind: 'Pod' } }],
    ['a bookmark without version', { type: 'BOOKMARK', object: { kind: 'Pod', metadata: {} } }],
    ['an error that is no Status', { type: 'ERROR', object: { kind: 'Pod' } }],
    ['a whole list', { kind: 'PodList', metadata: { resourceVersion: '11' }, items: [] }],
    ['null', null],
  ])('bug: %s is no event: nothing goes by it, and all is listed anew', async (_, line) => {
    const bench = await open();
    bench.server.next(list([object('a')], '10'), events([line, event('DELETED', 'a', '12')]));
    bench.server.next(list([object('a')], '13'), events([event('ADDED', 'c', '14')]));
    using _subscription = follow(bench);
    await told(bench, ['present a@1', 'present c@14']);
    expect(watches(bench)).toEqual(['10', '13']);
    expect(bench.logged).toEqual(['warn a watch broke; it is begun again CLUSTER_UNAVAILABLE']);
  });

  it('an event that comes twice is told once', async () => {
    const bench = await open();
    bench.server.next(list([], '10'), events([event('ADDED', 'a', '11'), event('ADDED', 'a', '11'), bookmark('12'), bookmark('12')]));
    using _subscription = follow(bench);
    bench.server.otherwise(events([]));
    await vi.waitFor(() => expect(watches(bench)).toHaveLength(1), patient);
    await told(bench, ['present a@11']);
  });

  it('versions that are no numbers are taken as they come', async () => {
    const bench = await open();
    bench.server.next(list([], 'x'), events([event('ADDED', 'a', 'b'), event('ADDED', 'c', 'a')]));
    using _subscription = follow(bench);
    await told(bench, ['present a@b', 'present c@a']);
  });

  it('a listener that throws is logged and hurts nobody', async () => {
    const bench = await open();
    bench.server.next(list([object('a')], '10'), events([event('ADDED', 'b', '11')]));
    using _bad = bench.watch.subscribe(() => {
      throw new TypeError('a bug');
    });
    using _subscription = follow(bench);
    await told(bench, ['present a@1', 'present b@11']);
    expect(bench.logged.filter((line) => line.startsWith('error a listener'))).toHaveLength(2);
  });

  it('a later listener gets what is there first; one that left gets nothing', async () => {
    const bench = await open();
    let write = (_line: unknown): void => undefined;
    bench.server.next(list([object('a')], '10'), (received, response) => {
      write = (line) => response.write(`${JSON.stringify(line)}\n`);
      return events([])(received, response);
    });
    await bench.watch.synced();
    const subscription = follow(bench);
    expect(bench.seen).toEqual(['present a@1']);
    subscription[Symbol.dispose]();
    await vi.waitFor(() => expect(watches(bench)).toHaveLength(1), patient);
    write(event('ADDED', 'b', '11'));
    await vi.waitFor(() => expect(bench.watch.items.size).toBe(2), patient);
    expect(bench.seen).toEqual(['present a@1']);
  });

  it('synced rejects with what hinders the first list, and resolves once it is in', async () => {
    const bench = await open();
    bench.server.next(status(403, 'Forbidden'));
    await expect(bench.watch.synced()).rejects.toMatchObject({ code: 'CLUSTER_DENIED' });
    bench.server.next(list([object('a')], '10'), events([]));
    await vi.waitFor(() => bench.watch.synced(), patient);
    expect(bench.watch.items.size).toBe(1);
  });

  it('disposing ends the stream, the loop and those who wait', async () => {
    const bench = await open();
    bench.server.otherwise(() => undefined);
    const waiting = bench.watch.synced();
    await vi.waitFor(() => expect(bench.server.received).toHaveLength(1), patient);
    await bench.watch[Symbol.asyncDispose]();
    await bench.watch[Symbol.asyncDispose]();
    await expect(waiting).rejects.toMatchObject({ code: 'MANAGER_STOPPED' });
    await expect(bench.watch.synced()).rejects.toMatchObject({ code: 'MANAGER_STOPPED' });
    expect(bench.server.received).toHaveLength(1);
  });
});
