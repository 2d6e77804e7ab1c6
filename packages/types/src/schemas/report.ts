import { z } from 'zod';
import { BifrostError } from '../core/errors.ts';
import { GUARD_LIMITS, GUARD_POLICIES, type GuardOrder, isGuardHash, type ReportGuard } from '../core/guard.ts';
import { PATH_CLASSES } from '../core/network.ts';
import {
  REPORT_LIMITS,
  REPORT_REASONS,
  type ReportAnswerV1,
  type ReportNode,
  type ReportPeer,
  type ReportV1,
  type ReportWarning,
  WARNING_SEVERITIES,
} from '../core/report.ts';
import { fromWire } from '../core/wire.ts';
import { boundedId, boundedText, count, ipAddress, requestedCidr, seenCidr } from './fields.ts';
import { parseOrThrow } from './parse.ts';

const WORD = 64;
const NAME = 255;

const reportPeerSchema = z.object({
  id: boundedId(WORD),
  name: boundedText(NAME),
  online: z.boolean(),
  path: z.enum(PATH_CLASSES),
  latencyMs: z.number().nonnegative().exactOptional(),
  rxBytes: count,
  txBytes: count,
  lastHandshakeAtMs: count.exactOptional(),
  routes: z.array(seenCidr).max(REPORT_LIMITS.maxRoutesPerPeer).exactOptional(),
  pathChanges: count.exactOptional(),
  pathChangedAtMs: count.exactOptional(),
  losesLargePackets: z.boolean().exactOptional(),
  user: boundedText(NAME).exactOptional(),
  tags: z.array(boundedId(WORD)).max(REPORT_LIMITS.maxTagsPerPeer).exactOptional(),
}) satisfies z.ZodType<ReportPeer>;

const reportWarningSchema = z.object({
  code: boundedId(WORD),
  severity: z.enum(WARNING_SEVERITIES),
  impactsConnectivity: z.boolean().exactOptional(),
  sinceMs: count.exactOptional(),
}) satisfies z.ZodType<ReportWarning>;

const reportNodeSchema = z.object({
  reachable: z.boolean(),
  backendState: boundedText(WORD),
  usable: z.boolean(),
  deviceId: boundedId(WORD).exactOptional(),
  ips: z.array(ipAddress).max(REPORT_LIMITS.maxIps),
  health: z.array(boundedId(WORD)).max(REPORT_LIMITS.maxHealth),
  homeDerp: boundedText(WORD).exactOptional(),
  keyExpiresAtMs: count.exactOptional(),
  daemonVersion: boundedText(WORD).exactOptional(),
  controlLinked: z.boolean().exactOptional(),
  warnings: z.array(reportWarningSchema).max(REPORT_LIMITS.maxHealth).exactOptional(),
  signs: z.array(boundedId(WORD)).max(REPORT_LIMITS.maxSigns).exactOptional(),
  advertisedRoutes: z.array(seenCidr).max(REPORT_LIMITS.maxRoutesPerPeer).exactOptional(),
  approvedRoutes: z.array(seenCidr).max(REPORT_LIMITS.maxRoutesPerPeer).exactOptional(),
}) satisfies z.ZodType<ReportNode>;

const guardHash = z.string().refine(isGuardHash, { error: 'must be 16 hexadecimal digits, lower case' });

const reportGuardSchema = z.object({ holds: guardHash.exactOptional(), received: guardHash.exactOptional() }) satisfies z.ZodType<ReportGuard>;

const guardNetworks = z.array(requestedCidr).max(GUARD_LIMITS.maxNetworks).readonly();
const guardOrderSchema = z.object({
  hash: guardHash,
  allowedNetworks: guardNetworks,
  blockedNetworks: guardNetworks,
  accessPolicy: z.enum(GUARD_POLICIES),
}) satisfies z.ZodType<GuardOrder>;

/** A report, version 1, within `REPORT_LIMITS`. Unknown keys are dropped, so that an older manager accepts a newer agent. */
export const reportV1Schema = z.object({
  v: z.literal(1),
  sidecarId: boundedId(WORD),
  podUid: boundedId(WORD),
  agentVersion: boundedText(WORD),
  startId: boundedId(WORD),
  startedAtMs: count,
  seq: count,
  sentAtMs: count,
  reason: z.enum(REPORT_REASONS),
  node: reportNodeSchema,
  rxBytes: count,
  txBytes: count,
  peers: z.array(reportPeerSchema).max(REPORT_LIMITS.maxPeers),
  idlePeers: count.exactOptional(),
  guard: reportGuardSchema.exactOptional(),
}) satisfies z.ZodType<ReportV1>;

/** The manager's answer to a report. Unknown keys are dropped. */
export const reportAnswerV1Schema = z.object({
  v: z.literal(1),
  nextHeartbeatMs: count,
  guard: guardOrderSchema.exactOptional(),
}) satisfies z.ZodType<ReportAnswerV1>;

/**
 * Reads a report from its JSON (parsed, names in snake_case).
 *
 * @throws {BifrostError} `REPORT_INVALID` — with the path of each wrong member in `issues`; never their values.
 */
export function reportFromWire(json: unknown): ReportV1 {
  return parseOrThrow(reportV1Schema, camelCased(json), 'REPORT_INVALID');
}

function camelCased(json: unknown): unknown {
  try {
    return fromWire(json);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause; // a few kilobytes of "[" exhaust the stack
    throw new BifrostError({
      code: 'REPORT_INVALID',
      message: 'the report is nested too deeply',
      issues: [{ path: '', message: 'is nested too deeply' }],
    });
  }
}
