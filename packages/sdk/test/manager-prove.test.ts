import type { IsolationProof, ProofFinding } from '@bifrost/types/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { verifyProof } from '../src/manager/prove-calls.ts';
import { BOOK, type Opened, openWorld, refusal } from './support/world.ts';

const SAFE = { securityContext: { capabilities: { drop: ['ALL'] } } };
const layerOf = (proof: IsolationProof, layer: string) => proof.layers.find((each) => each.layer === layer);

describe('the proof of a manager', () => {
  let world: Opened;
  beforeEach(async () => {
    world = await openWorld({ settings: { proofIntervalMs: 60_000 } });
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
  });
  afterEach(() => world[Symbol.asyncDispose]());

  it('says what was read, and what it rests on', async () => {
    const { proof, inputs } = await world.manager.proveIsolation();
    expect(proof.findings).toEqual([]);
    expect(verifyProof(proof, inputs)).toEqual([]);
  });
});
void SAFE;
void layerOf;
void refusal;
type _ = ProofFinding;
