// What stands beside the service on its port, and how the port ends.
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { Health, ServerReflection, HealthCheckResponse_ServingStatus as Status } from '@bifrost/types/proto';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openResources, untilNoMoreThan } from '../support/open-resources.ts';
import { PLENTY, Served, TAILNET, toldBy } from './support/served.ts';

const INFO = '/api/v1/networks/info';

describe('gRPC beside the service', () => {
  let served: Served;
  beforeAll(async () => {
    served = await Served.open();
  });
  afterAll(() => served[Symbol.asyncDispose]());
  const transport = () => createGrpcTransport({ baseUrl: `http://127.0.0.1:${served.port}` });

  it('tells its health', async () => {
    const health = createClient(Health, transport());
    for (const service of ['', 'bifrost.network.v1.NetworkManager']) expect((await health.check({ service })).status).toBe(Status.SERVING);
    expect(await toldBy(() => health.check({ service: 'other' }))).toMatchObject({ code: Code.NotFound });
  });

  it('tells all of its files and symbols, and nothing of what is not there', async () => {
    const reflection = createClient(ServerReflection, transport());
    type Asked = Parameters<typeof reflection.serverReflectionInfo>[0] extends AsyncIterable<infer Item> ? Item : never;
    const ask = async (...requests: readonly Asked['messageRequest'][]) => {
      const answers: unknown[] = [];
      const sent = (async function* () {
        for (const messageRequest of requests) yield { messageRequest } as Asked;
      })();
      for await (const { messageResponse } of reflection.serverReflectionInfo(sent)) answers.push(messageResponse);
      return answers as readonly { readonly case: string; readonly value: { readonly fileDescriptorProto: readonly Uint8Array[] } }[];
    };
    const [root] = await ask({ case: 'fileContainingSymbol', value: 'bifrost.network.v1.NetworkManager' });
    const files = (root?.value.fileDescriptorProto ?? []).map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
    const names = new Set(files.map(({ name }) => name));
    expect(files.flatMap(({ dependency }) => dependency).filter((name) => !names.has(name))).toEqual([]);
    const symbols = files.flatMap((file) =>
      [
        ...file.messageType.flatMap(({ name, nestedType, enumType }) => [
          name,
          ...[...nestedType, ...enumType].map((inner) => `${name}.${inner.name}`),
        ]),
        ...file.enumType.map(({ name }) => name),
        ...file.service.flatMap(({ name, method }) => [name, ...method.map((each) => `${name}.${each.name}`)]),
      ].map((name) => `${file.package}.${name}`),
    );
    const known = await ask(
      ...symbols.map((value) => ({ case: 'fileContainingSymbol' as const, value })),
      ...[...names].map((value) => ({ case: 'fileByFilename' as const, value })),
    );
    const unanswered = [...symbols, ...names].filter((_, index) => known[index]?.case !== 'fileDescriptorResponse');
    expect(unanswered.filter((name) => !name.endsWith('Entry'))).toEqual([]);
    expect((await ask({ case: 'fileByFilename', value: 'none.proto' }))[0]?.case).toBe('errorResponse');
  });

  it('says UNIMPLEMENTED of a method that is not there, and 404 to who speaks JSON', async () => {
    const session = connectHttp2(`http://127.0.0.1:${served.port}`);
    const post = async (type: string) => {
      const stream = session.request({
        ':method': 'POST',
        ':path': '/bifrost.network.v1.NetworkManager/Nothing',
        'content-type': type,
        ...served.as('admin:*'),
      });
      stream.end();
      const [headers] = await once(stream, 'response');
      stream.resume();
      return [headers[':status'], headers['grpc-status']];
    };
    expect(await post('application/grpc')).toEqual([200, '12']);
    expect(await post('application/json')).toEqual([404, undefined]);
    session.destroy();
  });
});

async function drained(stream: AsyncIterator<unknown>): Promise<void> {
  while (!(await stream.next()).done);
}

describe('close', () => {
  it('ends streams with a token to go on with, health, kept connections and silent ones, at once and for good', async () => {
    const served = await Served.open();
    const { world, server } = served;
    const streams = ['viewer:acme-corp', 'admin:*'].map((who) =>
      served.grpc(who).monitorConnectivity({ heartbeatSeconds: 1 })[Symbol.asyncIterator](),
    );
    const firsts = streams.map((stream) => stream.next());
    const reader = served.rest('admin:*', { path: '/api/v1/networks/events', headers: { accept: 'text/event-stream' } });
    const watch = createClient(Health, createGrpcTransport({ baseUrl: `http://127.0.0.1:${served.port}` }))
      .watch({})
      [Symbol.asyncIterator]();
    expect((await watch.next()).value).toMatchObject({ status: Status.SERVING });
    const silent = connect(served.port, '127.0.0.1');
    await once(silent, 'connect');
    await served.rest('admin:*', { path: INFO }); // its connection is kept
    for (const item of await served.beating(Promise.all(firsts))) expect(item.value?.resumeToken).toMatch(/./);

    const started = performance.now();
    const closing = server.close({ graceMs: 60_000 });
    expect(server.close()).toBe(closing);
    expect((await watch.next()).value).toMatchObject({ status: Status.NOT_SERVING });
    expect((await watch.next()).done).toBe(true);
    const ends = await Promise.all(streams.map((stream) => toldBy(() => drained(stream))));
    for (const end of ends) expect(end).toMatchObject({ code: Code.Unavailable, reason: 'SERVICE_DRAINING' });
    expect((await reader).text).toMatch(/event: error\ndata: .*SERVICE_DRAINING/);
    await closing;
    expect(performance.now() - started).toBeLessThan(10_000);
    await expect(server.listen(0)).rejects.toMatchObject({ code: 'SERVICE_DRAINING' });

    // Another server of the same manager takes the token.
    const { resumeToken } = (ends[0] as { readonly metadata: Readonly<Record<string, string>> }).metadata;
    expect(() => world.manager.monitorConnectivity({ resumeToken: resumeToken ?? '' })).not.toThrow();
    silent.destroy();
    await served[Symbol.asyncDispose]();
  });

  it('lets a call that is under way end, and cuts it when its time is over', async () => {
    for (const isLet of [true, false]) {
      const served = await Served.open();
      const { world, server } = served;
      const { promise, resolve } = Promise.withResolvers<void>();
      let asked = 0;
      world.guard.hook = async ({ name }) => {
        if (name !== 'store.tailnets.get') return undefined;
        asked += 1;
        await promise;
        return undefined;
      };
      const answers = Promise.allSettled([
        served.rest('admin:*', { path: `/api/v1/networks/tailnets/${TAILNET}` }),
        served.grpc('admin:*').getTailnet({ tailnetName: TAILNET }),
      ]);
      await vi.waitFor(() => expect(asked).toBe(2));
      const closing = server.close({ graceMs: isLet ? 60_000 : 50 });
      if (isLet) resolve();
      await closing;
      resolve();
      const [rest, grpc] = await answers;
      expect([rest.status, grpc.status]).toEqual(isLet ? ['fulfilled', 'fulfilled'] : ['rejected', 'rejected']);
      if (grpc.status === 'rejected') expect(ConnectError.from(grpc.reason).code).toBeGreaterThan(0);
      world.guard.hook = () => undefined;
      await served[Symbol.asyncDispose]();
    }
  });

  it('leaves nothing open', async () => {
    const before = await openResources();
    const served = await Served.open({ rateLimits: { caller: PLENTY, customer: PLENTY, attempt: PLENTY } });
    await served.rest('admin:*', { path: INFO });
    await served[Symbol.asyncDispose]();
    await untilNoMoreThan(before);
  });
});
