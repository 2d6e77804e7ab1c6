/** What the controller reads from its environment: the settings of examples/deploy, as far as it needs them. */
export interface Environment {
  readonly tailscaleImage: string;
  readonly agentImage: string;
  readonly ingestUrl: string;
  readonly tlsDirectory: string;
  readonly namespace: string;
  readonly heartbeatMs: number;
  readonly controlUrl: string | undefined;
  readonly loginServer: string | undefined;
}

/** Names what lacks, all at once. */
export function readEnvironment(variables: NodeJS.ProcessEnv): Environment | { readonly missing: readonly string[] } {
  const missing: string[] = [];
  const needed = (name: string): string => {
    const value = variables[name];
    if (!value) missing.push(name);
    return value ?? '';
  };
  const environment: Environment = {
    tailscaleImage: needed('BIFROST_TAILSCALE_IMAGE'),
    agentImage: needed('BIFROST_AGENT_IMAGE'),
    ingestUrl: needed('BIFROST_INGEST_URL'),
    tlsDirectory: needed('BIFROST_TLS_DIR'),
    namespace: needed('BIFROST_NAMESPACE'),
    heartbeatMs: Number(variables['BIFROST_HEARTBEAT_MS'] ?? 10_000),
    controlUrl: variables['BIFROST_CONTROL_URL'],
    loginServer: variables['BIFROST_LOGIN_SERVER'],
  };
  return missing.length > 0 ? { missing } : environment;
}
