// Streams that need no credential: health and reflection.
import { Health, ServerReflection, HealthCheckResponse_ServingStatus as Status } from '@bifrost/types/proto';
import { Code, createClient, type Interceptor } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Served, toldBy } from './support/served.ts';

const REFUSED = { code: Code.ResourceExhausted, reason: 'STREAM_LIMIT', metadata: { retry: 'backoff' } };

describe('streams that need no credential', () => {
  let served: Served;
  const ends: AbortController[] = [];
  beforeAll(async () => {
    served = await Served.open({ maxAnonymousStreams: 3, maxAnonymousStreamsPerAddress: 2, trustsPeer: () => true });
  });
  afterAll(() => {
    for (const end of ends) end.abort();
    return served[Symbol.asyncDispose]();
  });

  const transport = (address: string) => {
    const from: Interceptor = (next) => (request) => {
      request.header.set('x-forwarded-for', address);
      return next(request);
    };
    return createGrpcTransport({ baseUrl: `http://127.0.0.1:${served.port}`, interceptors: [from] });
  };
  /** What the stream says first; it stays open until `ends` has it. */
  const watch = async (address: string): Promise<unknown> => {
    const end = new AbortController();
    ends.push(end);
    const stream = createClient(Health, transport(address)).watch({}, { signal: end.signal })[Symbol.asyncIterator]();
    return toldBy(async () => (await stream.next()).value?.status);
  };
  const reflect = (address: string): Promise<unknown> =>
    toldBy(async () => {
      const asked = (async function* () {
        yield { messageRequest: { case: 'listServices', value: '' } } as const;
      })();
      for await (const { messageResponse } of createClient(ServerReflection, transport(address)).serverReflectionInfo(asked))
        return messageResponse.case;
      return undefined;
    });

  it('are bounded by address, of IPv6 by its /64, and in all; single questions are not', async () => {
    const isOpen = { answer: Status.SERVING };
    expect([await watch('2001:db8::1'), await watch('2001:db8::2')]).toEqual([isOpen, isOpen]);
    expect(await watch('2001:db8::3')).toMatchObject(REFUSED);
    expect(await reflect('2001:db8::3')).toMatchObject(REFUSED);
    expect(await watch('192.0.2.1')).toEqual(isOpen);
    expect(await watch('192.0.2.2')).toMatchObject(REFUSED);
    for (let times = 0; times < 5; times += 1) expect((await createClient(Health, transport('2001:db8::1')).check({})).status).toBe(Status.SERVING);
    expect(await toldBy(() => served.grpc('admin:*').getServiceInfo({}))).toHaveProperty('answer');
  });

  it('give their places back when the reader leaves, and when they have ended', async () => {
    for (const end of ends.splice(0)) end.abort();
    for (const address of ['192.0.2.3', '192.0.2.4', '192.0.2.5', '192.0.2.3', '192.0.2.3', '192.0.2.3'])
      await vi.waitFor(async () => expect(await reflect(address)).toEqual({ answer: 'listServicesResponse' }));
    const unknown = async (): Promise<unknown> => {
      for await (const { status } of createClient(Health, transport('192.0.2.6')).watch({ service: 'other' })) return status;
      return undefined;
    };
    for (let times = 0; times < 5; times += 1)
      await vi.waitFor(async () => expect(await toldBy(unknown)).toEqual({ answer: Status.SERVICE_UNKNOWN }));
    await vi.waitFor(async () => expect(await watch('192.0.2.7')).toEqual({ answer: Status.SERVING }));
  });
});
