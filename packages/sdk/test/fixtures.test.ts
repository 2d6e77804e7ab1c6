import { readdirSync, readFileSync } from 'node:fs';
import { reportAnswerV1Schema, reportFromWire } from '@bifrost/types';
import { fromWire, type ReportAnswerV1, toWire } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { assess, DEFAULT_THRESHOLDS } from '../src/domain/connectivity.ts';
import { ACME, BOOK, openWorld } from './support/world.ts';

const fixtures = new URL('../../types/fixtures/', import.meta.url);
const namesIn = (folder: string): readonly string[] => readdirSync(new URL(folder, fixtures));
const documentOf = (path: string): object => JSON.parse(readFileSync(new URL(path, fixtures), 'utf8')) as object;

/** What each golden report says about its sidecar. */
const FACTS: Readonly<Record<string, object>> = {
  'minimal.json': { fact: 'broken', cause: 'pod' },
  'typical.json': { fact: 'healthy' },
  'maximal.json': { fact: 'impaired', cause: 'relay' },
  'heartbeat.json': { fact: 'healthy' },
  'whole.json': { fact: 'impaired', cause: 'control-plane' },
  'guarded.json': { fact: 'broken', cause: 'pod' },
};

describe('golden wire documents', () => {
  it.each(namesIn('report/v1/'))('report/v1/%s is read and judged', (name) => {
    const report = reportFromWire(documentOf(`report/v1/${name}`));
    expect(assess(report, report.sentAtMs, DEFAULT_THRESHOLDS)).toEqual(FACTS[name]);
  });

  it.each(namesIn('report/v1/'))('a manager takes report/v1/%s, and answers as report-answer/v1 has it', async (name) => {
    await using world = await openWorld();
    await world.manager.attachSidecar(BOOK);
    await world.until(() => world.agents.all.length === 1);
    const { one } = world.agents;
    const start = { start_id: 'golden', sidecar_id: one.sidecarId, pod_uid: one.pod.uid };
    const document = { ...documentOf(`report/v1/${name}`), ...start };
    const answer = toWire(await world.manager.ingestReport({ token: one.pod.serviceAccountToken, document }));
    // The tailnet of this world is not that of the golden answer: its networks are.
    const wanted = fromWire(documentOf(`report-answer/v1/${'guard' in document ? 'guard' : 'typical'}.json`)) as ReportAnswerV1;
    const { allowedNetworks, blockedNetworks = [] } = ACME.config;
    const guard = wanted.guard && { ...wanted.guard, hash: expect.stringMatching(/^[0-9a-f]{16}$/), allowedNetworks, blockedNetworks };
    expect(reportAnswerV1Schema.parse(fromWire(answer))).toEqual({ ...wanted, ...(guard === undefined ? {} : { guard }) });
    const { metrics } = await world.manager.getNetworkStatus(BOOK.tailnetName);
    const { rxBytes, txBytes } = reportFromWire(document);
    expect([metrics.bytesReceived, metrics.bytesSent]).toEqual([rxBytes, txBytes]);
  });
});
