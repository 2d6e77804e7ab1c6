/** The layer table: what each part of the project may import, and why the rest is forbidden. */

export interface Layer {
  readonly name: string;
  /** Paths that belong to it, relative to the project's folder. The first layer that matches wins. */
  readonly files: RegExp;
  /** Layers whose code it may use. Its own is always allowed, unless {@link Layer.apart} says otherwise. */
  readonly may: readonly string[];
  /** Layers of which it may use types only. */
  readonly mayTypes?: readonly string[];
  /** Each folder below it is a world of its own: this captures its name. */
  readonly apart?: RegExp;
  /** Node's own modules. */
  readonly node: boolean;
  /** Printed with every forbidden import. */
  readonly because: string;
}

const leftOfManager = ['types/core', 'types', 'domain', 'ports', 'adapters'];

export const LAYERS: readonly Layer[] = [
  {
    ...{ name: 'types/core', files: /^packages\/types\/src\/core\//, may: [], node: false },
    because: 'the agent bundles it: it must stay small, and free of zod and of everything else',
  },
  {
    ...{ name: 'types', files: /^packages\/types\/src\//, may: ['types/core'], node: false },
    because: 'both ends depend on types, so types depends on neither',
  },
  {
    ...{ name: 'domain', files: /^packages\/sdk\/src\/domain\//, may: ['types/core'], node: false },
    because: 'the domain is pure and repeatable: it is tested without a cluster, a clock or a network',
  },
  {
    ...{ name: 'ports', files: /^packages\/sdk\/src\/ports\//, may: [], mayTypes: ['types/core', 'domain'], node: false },
    because: 'a port is a contract in our own words: an implementation, or a vendor’s type in it, would bind every adapter to it',
  },
  {
    ...{ name: 'adapters', files: /^packages\/sdk\/src\/adapters\//, may: ['types/core', 'types', 'domain', 'ports'], node: true },
    apart: /^packages\/sdk\/src\/adapters\/([^/]+)\//,
    because: 'an adapter can be replaced only while nothing but the wiring knows it, least of all another adapter',
  },
  {
    ...{ name: 'manager', files: /^packages\/sdk\/src\/manager\//, may: leftOfManager, node: true },
    because: 'the manager runs embedded: it must not know doors, simulators or the agent’s insides',
  },
  {
    ...{ name: 'server', files: /^packages\/sdk\/src\/server\//, may: [...leftOfManager, 'manager'], node: true },
    because: 'a door shows what the manager offers and nothing else',
  },
  {
    ...{ name: 'conformance', files: /^packages\/sdk\/src\/testing\/conformance\//, may: ['types/core', 'domain', 'ports'], node: true },
    because: 'a suite judges adapters by their port alone: it must not know any of them',
  },
  {
    ...{ name: 'testing', files: /^packages\/sdk\/src\/testing\//, may: [...leftOfManager, 'manager', 'server'], node: true },
    because: 'users run the simulators outside of a test runner, so no suite may come in with them',
  },
  {
    ...{ name: 'cli', files: /^packages\/sdk\/src\/cli\//, may: [...leftOfManager, 'manager', 'server'], node: true },
    because: 'the command is a user of the SDK like any other; it runs its own simulated world on the memory adapters',
  },
  {
    ...{ name: 'sdk entry', files: /^packages\/sdk\/src\/[^/]+\.ts$/, may: [...leftOfManager, 'manager'], node: true },
    because: 'the entry must stay light: doors and simulators have entries of their own',
  },
  {
    ...{ name: 'agent domain', files: /^packages\/agent\/src\/domain\//, may: ['types/core'], node: false },
    because: 'what the agent decides is tested without a daemon, a clock or a network',
  },
  {
    ...{ name: 'agent ports', files: /^packages\/agent\/src\/ports\//, may: [], mayTypes: ['types/core', 'agent domain'], node: false },
    because: 'a port is a contract in our own words',
  },
  {
    ...{ name: 'agent adapters', files: /^packages\/agent\/src\/adapters\//, may: ['types/core', 'agent domain', 'agent ports'], node: true },
    because: 'the agent is one small file: zod, undici and the SDK would multiply its memory',
  },
  {
    ...{ name: 'agent', files: /^packages\/agent\/src\//, may: ['types/core', 'agent domain', 'agent ports', 'agent adapters'], node: true },
    because: 'SDK and agent meet in types/core only, or one of them could not be upgraded alone',
  },
  {
    ...{ name: 'examples', files: /^examples\/[^/]+\/src\//, node: true },
    may: ['types/core', 'types', 'sdk entry', 'sdk kubernetes', 'sdk tailscale', 'server', 'testing', 'conformance'],
    because: 'an example shows what a user can do: by package entries, never by deep paths',
  },
];

/** What a package entry stands for. */
export const ENTRIES: Readonly<Record<string, string>> = {
  '@bifrost/types': 'types',
  '@bifrost/types/core': 'types/core',
  '@bifrost/types/proto': 'types',
  '@bifrost/sdk': 'sdk entry',
  '@bifrost/sdk/kubernetes': 'sdk kubernetes',
  '@bifrost/sdk/tailscale': 'sdk tailscale',
  '@bifrost/sdk/server': 'server',
  '@bifrost/sdk/testing': 'testing',
  '@bifrost/sdk/testing/conformance': 'conformance',
};

/** Where a library may be used: nowhere else. A new place, or a new library, needs a page in docs/decisions/. */
export const LIBRARIES: Readonly<Record<string, RegExp>> = {
  zod: /^packages\/(types\/src\/schemas|sdk\/src\/(adapters|manager|server|testing))\//,
  '@bufbuild/protobuf': /^packages\/(types\/src\/gen|sdk\/src\/(server|cli))\//,
  '@connectrpc/connect': /^packages\/sdk\/src\/(server|cli)\//,
  '@connectrpc/connect-node': /^packages\/sdk\/src\/(server|cli)\//,
  'cidr-tools': /^packages\/sdk\/src\/domain\/policy\//,
  commander: /^packages\/sdk\/src\/cli\//,
  yaml: /^packages\/sdk\/src\/cli\//,
  undici: /^packages\/sdk\/src\/adapters\/(kubernetes|tailscale)\//,
  '@kubernetes/client-node': /^(packages\/sdk\/src\/adapters\/kubernetes|examples\/book-controller\/src)\//,
  'csv-stringify': /^packages\/sdk\/src\/domain\/policy\//,
  eventemitter3: /^packages\/sdk\/src\/manager\/event-bus\.ts$/,
  jose: /^packages\/sdk\/src\/server\/auth\//,
  'jsonc-parser': /^packages\/sdk\/src\/domain\/policy\//,
  'rate-limiter-flexible': /^packages\/sdk\/src\/server\/limits\//,
  'ipaddr.js': /^packages\/sdk\/src\/adapters\/memory\//,
  vitest: /^packages\/sdk\/src\/testing\/conformance\//,
};

export const layerOf = (path: string): Layer | undefined => LAYERS.find(({ files }) => files.test(path));
