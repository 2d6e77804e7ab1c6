import type { NetworkManagerOptions, WorkloadReference } from '@bifrost/sdk';
import {
  type ApiServer,
  type ApiServerOptions,
  anyOf,
  apiKeyAuthenticator,
  createApiKey,
  createApiServer,
  jwtAuthenticator,
} from '@bifrost/sdk/server';
import { ISSUER, Issuer } from '../../support/issuer.ts';
import { Envoy } from './envoy.ts';
import { GrpcDoor } from './grpc-door.ts';
import { RestDoor } from './rest-door.ts';
import { World } from './world.ts';

const PLENTY = { pointsPerSecond: 100_000, burst: 1_000_000 };

export interface ServiceOptions {
  readonly issuer?: Issuer;
  readonly settings?: Partial<NetworkManagerOptions>;
  readonly server?: Partial<ApiServerOptions>;
  /** Asked by this door only: no Envoy is started for one that does not need it. */
  readonly only?: DoorName;
}

export interface Doors {
  readonly rest: RestDoor;
  readonly restByEnvoy: RestDoor;
  readonly grpc: GrpcDoor;
  readonly grpcByEnvoy: GrpcDoor;
}
export const DOORS = ['rest', 'restByEnvoy', 'grpc', 'grpcByEnvoy'] as const;
export type DoorName = (typeof DOORS)[number];
export const REST_DOORS = ['rest', 'restByEnvoy'] as const;
export const GRPC_DOORS = ['grpc', 'grpcByEnvoy'] as const;

/** One service on memory adapters, with a real Envoy before it, and its four doors. */
export class Service implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly issuer: Issuer;
  readonly apiKey = createApiKey({ id: 'ci' });
  /** Behind Envoy's back. */
  port = 0;
  world!: World;
  server!: ApiServer;
  envoy!: Envoy;
  doors!: Doors;

  private constructor(issuer: Issuer) {
    this.issuer = issuer;
  }

  static async open({ issuer = new Issuer(), ...options }: ServiceOptions = {}): Promise<Service> {
    const service = new Service(issuer);
    try {
      await service.#open(options);
      return service;
    } catch (error) {
      await service[Symbol.asyncDispose]();
      throw error;
    }
  }

  get manager(): World['manager'] {
    return this.world.manager;
  }

  async #open({ settings = {}, server = {}, only }: ServiceOptions): Promise<void> {
    this.world = this.#stack.use(await World.open(settings));
    this.server = this.#stack.use(
      createApiServer({
        manager: this.world.manager,
        audit: this.world.audit,
        authenticator: anyOf([
          apiKeyAuthenticator({ keys: [{ id: 'ci', sha256: this.apiKey.sha256, subject: 'ci', roles: ['viewer:*'] }] }),
          jwtAuthenticator({ issuer: ISSUER, audience: 'bifrost', keys: { jwks: this.issuer.jwks as never } }),
        ]),
        trustsPeer: ({ address }) => address === '127.0.0.1',
        rateLimits: { caller: PLENTY, customer: PLENTY, attempt: PLENTY },
        ...server,
      }),
    );
    const { port } = await this.server.listen(0);
    this.port = port;
    const needsEnvoy = only === undefined || only === 'restByEnvoy' || only === 'grpcByEnvoy';
    if (needsEnvoy) this.envoy = this.#stack.use(await Envoy.start({ upstreamPort: port, jwks: this.issuer.jwks }));
    const byEnvoy = needsEnvoy ? this.envoy.port : 0;
    this.doors = {
      rest: this.#stack.use(new RestDoor({ name: 'REST in process', port })),
      restByEnvoy: this.#stack.use(new RestDoor({ name: 'REST through Envoy', port: byEnvoy })),
      grpc: this.#stack.use(new GrpcDoor({ name: 'gRPC direct', port })),
      grpcByEnvoy: this.#stack.use(new GrpcDoor({ name: 'gRPC through Envoy', port: byEnvoy })),
    };
  }

  addBook(namespace: string, name: string): Promise<WorkloadReference> {
    return this.world.addBook(namespace, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
