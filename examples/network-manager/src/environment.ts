import type { NetworkManagerOptions } from '@bifrost/sdk';

/** What the service reads from its environment; every fault is told at once. */
export interface Environment {
  readonly tailscaleImage: string;
  readonly agentImage: string;
  readonly ingestUrl: string;
  readonly tlsDirectory: string;
  readonly controlUrl: string | undefined;
  readonly loginServer: string | undefined;
  readonly organizationSecret: string | undefined;
  readonly sharedSecret: string | undefined;
  readonly heartbeatMs: number;
  readonly silenceMs: number;
  /** Service accounts of the platform: they may do everything. */
  readonly apiAccounts: readonly { readonly namespace: string; readonly name: string; readonly roles: readonly string[] }[];
  /** Who else may call: access.ts has its form. */
  readonly accessFile: string | undefined;
  /** Of each caller, points per second; a read takes one. A customer's callers have twice as many together. */
  readonly pointsPerSecond: number;
  readonly namespace: string;
  readonly reportsPort: number;
  readonly apiPort: number;
  /** On loopback, in clear, for the Envoy in the same pod; 0: none. */
  readonly proxyPort: number;
  /** What the manager has a default for. */
  readonly settings: Partial<
    Pick<NetworkManagerOptions, (typeof MILLISECONDS)[number] | (typeof SWITCHES)[number] | (typeof POLICIES)[number] | 'nodeAttributes'>
  >;
}

const MILLISECONDS = ['attachDeadlineMs', 'resyncMs', 'driftWindowMs', 'registrationMs', 'proofIntervalMs'] as const;
/** Of these 0 says something: never. */
const MAY_BE_NONE: ReadonlySet<string> = new Set(['proofIntervalMs']);
const SWITCHES = ['readOnly', 'networkPolicyEnforced'] as const;
/** A word, and where things answer as JSON: the manager itself checks what is in them. */
const POLICIES = ['networkPolicies', 'networkPolicyEndpoints'] as const;
/** `attachDeadlineMs` is `BIFROST_ATTACH_DEADLINE_MS`. */
const variableOf = (setting: string): string => `BIFROST_${setting.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;

/** An agent may need its time-out (5 s) to notice that a manager went away, and one and a half heartbeats until it tries the next. */
const LEAST_SILENCE_MS = 8_000;

/** `system:serviceaccount:platform:book-controller`, as Kubernetes writes its subjects. */
const SUBJECT = /^system:serviceaccount:([a-z0-9-]+):([a-z0-9.-]+)$/;

function accountsOf(text: string, missing: string[]): Environment['apiAccounts'] {
  const subjects = text.split(',').filter((subject) => subject !== '');
  if (!subjects.every((subject) => SUBJECT.test(subject)))
    missing.push('BIFROST_API_SUBJECTS (system:serviceaccount:NAMESPACE:NAME, separated by commas)');
  return subjects.map((subject) => {
    const [, namespace = '', name = ''] = SUBJECT.exec(subject) ?? [];
    return { namespace, name, roles: ['admin:*'] };
  });
}

function document(text: string, onFault: () => void): NonNullable<NetworkManagerOptions['networkPolicyEndpoints']> {
  try {
    return JSON.parse(text);
  } catch {
    onFault();
    return {};
  }
}

export function readEnvironment(variables: NodeJS.ProcessEnv): Environment | { readonly missing: readonly string[] } {
  const missing: string[] = [];
  const needed = (name: string): string => {
    const value = variables[name];
    if (!value) missing.push(name);
    return value ?? '';
  };
  const number = (name: string, fallback: number, least = 1): number => {
    const value = Number(variables[name] ?? fallback);
    if (!Number.isInteger(value) || value < least) missing.push(`${name} (a positive whole number)`);
    return value;
  };
  const settings: { -readonly [Name in keyof Environment['settings']]: Environment['settings'][Name] } = {};
  for (const name of MILLISECONDS) if (variables[variableOf(name)]) settings[name] = number(variableOf(name), 0, MAY_BE_NONE.has(name) ? 0 : 1);
  for (const name of SWITCHES) if (variables[variableOf(name)]) settings[name] = variables[variableOf(name)] === 'true';
  const [use, endpoints] = POLICIES.map((name) => variables[variableOf(name)]);
  if (use) settings.networkPolicies = use as NonNullable<NetworkManagerOptions['networkPolicies']>;
  if (endpoints) settings.networkPolicyEndpoints = document(endpoints, () => missing.push(`${variableOf('networkPolicyEndpoints')} (JSON)`));
  const attributes = variables[variableOf('nodeAttributes')];
  if (attributes) settings.nodeAttributes = attributes.split(',');
  const heartbeatMs = number('BIFROST_HEARTBEAT_MS', 10_000);
  const environment: Environment = {
    tailscaleImage: needed('BIFROST_TAILSCALE_IMAGE'),
    agentImage: needed('BIFROST_AGENT_IMAGE'),
    ingestUrl: needed('BIFROST_INGEST_URL'),
    tlsDirectory: needed('BIFROST_TLS_DIR'),
    controlUrl: variables['BIFROST_CONTROL_URL'],
    loginServer: variables['BIFROST_LOGIN_SERVER'],
    organizationSecret: variables['BIFROST_ORGANIZATION_SECRET'],
    sharedSecret: variables['BIFROST_SHARED_SECRET'] || undefined,
    heartbeatMs,
    silenceMs: number('BIFROST_SILENCE_MS', Math.max(LEAST_SILENCE_MS, Math.round(heartbeatMs * 3.5))),
    apiAccounts: accountsOf(variables['BIFROST_API_SUBJECTS'] ?? '', missing),
    accessFile: variables['BIFROST_ACCESS_FILE'],
    pointsPerSecond: number('BIFROST_API_POINTS_PER_SECOND', 100),
    namespace: needed('BIFROST_NAMESPACE'),
    reportsPort: number('BIFROST_REPORTS_PORT', 8443),
    apiPort: number('BIFROST_API_PORT', 8444),
    proxyPort: variables['BIFROST_PROXY_PORT'] ? number('BIFROST_PROXY_PORT', 0) : 0,
    settings,
  };
  return missing.length > 0 ? { missing } : environment;
}
