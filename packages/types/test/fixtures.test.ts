import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import {
  attachSidecarRequestSchema,
  attachSidecarResponseSchema,
  connectionMetricSchema,
  connectivityEventSchema,
  createTailnetRequestSchema,
  createTailnetResponseSchema,
  firewallReportSchema,
  fromWire,
  networkStatusSchema,
  REPORT_LIMITS,
  reportAnswerV1Schema,
  reportFromWire,
  reportV1Schema,
  toWire,
} from '../src/index.ts';

const fixtures = new URL('../fixtures/', import.meta.url);
const schemas: Readonly<Record<string, z.ZodType>> = {
  'attach-sidecar-request': attachSidecarRequestSchema,
  'attach-sidecar-response': attachSidecarResponseSchema,
  'connection-metric': connectionMetricSchema,
  'connectivity-event': connectivityEventSchema,
  'create-tailnet-request': createTailnetRequestSchema,
  'create-tailnet-response': createTailnetResponseSchema,
  'firewall-report': firewallReportSchema,
  'network-status': networkStatusSchema,
  report: reportV1Schema,
  'report-answer': reportAnswerV1Schema,
};

const documents = Object.entries(schemas).flatMap(([message, schema]) => {
  const folder = new URL(`${message}/v1/`, fixtures);
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => ({ name: `${message}/v1/${file}`, schema, text: readFileSync(new URL(file, folder), 'utf8') }));
});
const compactBytes = (name: string): number =>
  Buffer.byteLength(JSON.stringify(JSON.parse(readFileSync(new URL(`report/v1/${name}.json`, fixtures), 'utf8'))));

describe('golden wire documents', () => {
  it.each(documents)('$name is read, and written back as it was', ({ schema, text }) => {
    const document: unknown = JSON.parse(text);
    expect(toWire(schema.parse(fromWire(document)))).toEqual(document);
  });

  it('every folder of fixtures has a schema', () => {
    expect(readdirSync(fixtures).sort()).toEqual(Object.keys(schemas).sort());
  });

  it.each(documents.filter(({ name }) => !name.includes('-request/')))('$name: an unknown key is ignored on arrival', ({ schema, text }) => {
    const document = JSON.parse(text) as object;
    expect(toWire(schema.parse(fromWire({ ...document, added_in_a_later_version: { deep: [1] } })))).toEqual(document);
  });

  it.each(documents.filter(({ name }) => name.includes('-request/')))('$name: an unknown key is refused', ({ schema, text }) => {
    const document = JSON.parse(text) as object;
    expect(schema.safeParse(fromWire({ ...document, mis_spelt: true })).success).toBe(false);
  });
});

describe('reports', () => {
  it.each(['typical', 'heartbeat'])('a typical heartbeat fits into 1 KiB: %s', (name) => {
    expect(compactBytes(name)).toBeLessThanOrEqual(1024);
  });
  it('a report with every list full fits into the limit', () => {
    expect(compactBytes('maximal')).toBeLessThanOrEqual(REPORT_LIMITS.maxBytes);
    const report = reportFromWire(JSON.parse(readFileSync(new URL('report/v1/maximal.json', fixtures), 'utf8')));
    expect(report.peers).toHaveLength(REPORT_LIMITS.maxPeers);
    expect(report.node.health).toHaveLength(REPORT_LIMITS.maxHealth);
    expect(report.node.ips).toHaveLength(REPORT_LIMITS.maxIps);
    expect(report.peers[0]?.routes).toHaveLength(REPORT_LIMITS.maxRoutesPerPeer);
  });
});
