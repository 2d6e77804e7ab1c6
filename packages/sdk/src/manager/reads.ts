import type { ConnectionMetric, NetworkStatus } from '@bifrost/types/core';
import { isUp } from '../domain/connectivity.ts';
import { mean } from '../domain/mean.ts';
import type { StoredSidecar, StoredTailnet } from '../domain/model.ts';
import type { Call, Context } from './context.ts';
import type { Instance } from './instances.ts';
import { isVisible } from './scope.ts';
import { connectivityOf } from './sidecar-view.ts';
import { requireTailnet, statusOfTailnet } from './tailnet-calls.ts';

interface Sums {
  readonly connected: readonly Instance[];
  readonly bytesSent: bigint;
  readonly bytesReceived: bigint;
  readonly averageLatencyMs: number;
  readonly lastActivity: Date | undefined;
}

function sum(context: Context, sidecars: readonly StoredSidecar[]): Sums {
  const instances = sidecars.flatMap(({ key }) => context.instances.of(key));
  const traffic = sidecars.map(({ key }) => context.instances.traffic(key));
  const connected = instances.filter(({ connection }) => isUp(connection.state));
  const times = traffic.map(({ lastActivityMs }) => lastActivityMs).filter((time) => time !== undefined);
  return {
    connected,
    bytesSent: traffic.reduce((total, { bytesSent }) => total + bytesSent, 0n),
    bytesReceived: traffic.reduce((total, { bytesReceived }) => total + bytesReceived, 0n),
    averageLatencyMs: mean(connected.map(({ latencyMs }) => latencyMs)) ?? 0,
    lastActivity: times.length === 0 ? undefined : new Date(Math.max(...times)),
  };
}

const sidecarsOf = async (context: Context, tailnetName: string, call: Call): Promise<readonly StoredSidecar[]> =>
  (await context.store.sidecars.list(call)).filter(({ spec }) => spec.tailnetName === tailnetName);

/** @see NetworkManager.getNetworkStatus */
export async function getNetworkStatus(context: Context, tailnetName: string, call: Call): Promise<NetworkStatus> {
  const tailnet = await requireTailnet(context, tailnetName, call);
  const sidecars = await sidecarsOf(context, tailnetName, call);
  const { connected, bytesSent, bytesReceived, averageLatencyMs, lastActivity } = sum(context, sidecars);
  return {
    tailnetName,
    status: statusOfTailnet(tailnet),
    connectedDevices: connected.length,
    ...(lastActivity === undefined ? {} : { lastActivity }),
    metrics: { bytesSent: Number(bytesSent), bytesReceived: Number(bytesReceived), averageLatencyMs },
    connectedSidecars: sidecars.flatMap((sidecar) => {
      const { status, ipAddress } = connectivityOf(context, sidecar);
      const { sidecarId, workload } = sidecar.spec;
      return isUp(status) && ipAddress !== undefined ? [{ sidecarId, bookDeployment: workload.name, status, ipAddress }] : [];
    }),
  };
}

/** Whose metrics: of both that are given. A tailnet of another customer's is none of theirs, which is no error. */
interface MetricsFilter {
  readonly tailnetName: string | undefined;
  readonly customerId: string | undefined;
}

/** @see NetworkManager.getConnectionMetrics */
export async function getConnectionMetrics(
  context: Context,
  { tailnetName, customerId }: MetricsFilter,
  call: Call,
): Promise<readonly ConnectionMetric[]> {
  const tailnets: readonly StoredTailnet[] =
    tailnetName === undefined
      ? (await context.store.tailnets.list(call)).filter(({ spec }) => isVisible(spec.customerId, call.scope))
      : [await requireTailnet(context, tailnetName, call)];
  const wanted = tailnets.filter(({ spec }) => customerId === undefined || spec.customerId === customerId);
  if (wanted.length === 0) return [];
  const all = await context.store.sidecars.list(call);
  return wanted.map((tailnet) => {
    const sums = sum(
      context,
      all.filter(({ spec }) => spec.tailnetName === tailnet.key),
    );
    return {
      tailnetName: tailnet.key,
      bytesSent: sums.bytesSent,
      bytesReceived: sums.bytesReceived,
      latencyMs: sums.averageLatencyMs,
      isConnected: sums.connected.length > 0,
      ...(sums.lastActivity === undefined ? {} : { lastActivity: sums.lastActivity }),
    };
  });
}
