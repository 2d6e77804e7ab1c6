import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { NetworkManager, type WorkloadReference } from '@bifrost/sdk';
import { type ApiServer, anyOf, apiKeyAuthenticator, createApiKey, createApiServer, jwtAuthenticator } from '@bifrost/sdk/server';
import { idlePodRuntime, ManualClock, MemoryAuditSink, MemoryCluster, MemoryControlPlane, MemoryStore, SimulatedControl } from '@bifrost/sdk/testing';
import { Envoy } from './envoy.ts';
import { GrpcDoor } from './grpc-door.ts';
import { RestDoor } from './rest-door.ts';

const ISSUER = 'https://issuer.example.com';
const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;
const PLENTY = { pointsPerSecond: 100_000, burst: 1_000_000 };

/** Who signs tokens in this run. */
export class Issuer {
  readonly #key: KeyObject;
  readonly jwks: { readonly keys: readonly object[] };

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#key = createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' }));
    this.jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'test', alg: 'ES256', use: 'sig' }] };
  }

  token(roles: readonly string[], claims: Readonly<Record<string, unknown>> = {}): string {
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const now = Math.floor(Date.now() / 1000);
    const payload = { iss: ISSUER, aud: 'bifrost', sub: roles.join(' '), iat: now, exp: now + 600, bifrost_roles: roles, ...claims };
    const signed = `${part({ alg: 'ES256', kid: 'test', typ: 'JWT' })}.${part(payload)}`;
    return `${signed}.${sign('sha256', Buffer.from(signed), { key: this.#key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
  }

  bearer(roles: readonly string[], claims: Readonly<Record<string, unknown>> = {}): { readonly authorization: string } {
    return { authorization: `Bearer ${this.token(roles, claims)}` };
  }
}

/** One service on memory adapters, in the public API's words, with a real Envoy before it, and its four doors. */
export class Service implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly audit = new MemoryAuditSink();
  readonly issuer: Issuer;
  readonly apiKey = createApiKey({ id: 'ci' });
  manager!: NetworkManager;
  cluster!: MemoryCluster;
  server!: ApiServer;
  envoy!: Envoy;
  doors!: { readonly rest: RestDoor; readonly restByEnvoy: RestDoor; readonly grpc: GrpcDoor; readonly grpcByEnvoy: GrpcDoor };

  private constructor(issuer: Issuer) {
    this.issuer = issuer;
  }

  static async open(issuer = new Issuer()): Promise<Service> {
    const service = new Service(issuer);
    try {
      await service.#open();
      return service;
    } catch (error) {
      await service[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #open(): Promise<void> {
    const clock = new ManualClock({ seed: 1 });
    const control = new SimulatedControl({ clock, tailnetLimit: 1000 });
    const ranges = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['10.250.0.1/32'] };
    this.cluster = new MemoryCluster({ clock, runtime: idlePodRuntime(), ranges });
    this.manager = this.#stack.use(
      new NetworkManager({
        cluster: this.cluster,
        store: new MemoryStore({ clock }),
        controlPlane: new MemoryControlPlane({ control }),
        audit: this.audit,
        clock,
        images: { tailscale: `tailscale@${digest('1')}`, agent: `bifrost-agent@${digest('2')}` },
        ingest: { url: 'https://bifrost.bifrost.svc/v1/reports' },
        tenancy: 'organization',
      }),
    );
    await this.manager.start();
    for (const customer of ['customer-a', 'customer-b']) await this.cluster.createNamespace({ name: customer, customerId: customer });
    this.server = this.#stack.use(
      createApiServer({
        manager: this.manager,
        audit: this.audit,
        authenticator: anyOf([
          apiKeyAuthenticator({ keys: [{ id: 'ci', sha256: this.apiKey.sha256, subject: 'ci', roles: ['viewer:*'] }] }),
          jwtAuthenticator({ issuer: ISSUER, audience: 'bifrost', keys: { jwks: this.issuer.jwks as never } }),
        ]),
        trustsPeer: ({ address }) => address === '127.0.0.1',
        rateLimits: { caller: PLENTY, customer: PLENTY, attempt: PLENTY },
      }),
    );
    const { port } = await this.server.listen(0);
    this.envoy = this.#stack.use(await Envoy.start({ upstreamPort: port, jwks: this.issuer.jwks }));
    this.doors = {
      rest: this.#stack.use(new RestDoor({ name: 'REST in process', port })),
      restByEnvoy: this.#stack.use(new RestDoor({ name: 'REST through Envoy', port: this.envoy.port })),
      grpc: this.#stack.use(new GrpcDoor({ name: 'gRPC direct', port })),
      grpcByEnvoy: this.#stack.use(new GrpcDoor({ name: 'gRPC through Envoy', port: this.envoy.port })),
    };
  }

  addBook(namespace: string, name: string): Promise<WorkloadReference> {
    return this.cluster.createWorkload({
      namespace,
      name,
      labels: { 'bifrost.dev/book-deployment-id': name },
      containers: [{ name: 'book', image: 'book' }],
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
