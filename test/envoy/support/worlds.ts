import { ERROR_CODES, type ErrorCode } from '@bifrost/types/core';
import { expect } from 'vitest';
import { Issuer } from '../../support/issuer.ts';
import type { Door, Headers, Json, Verdict } from './door.ts';
import { DOORS, type DoorName, Service } from './service.ts';

/** What doors must agree on: everything but what tells one call from another, and the form of the protocol. */
export const essence = ({ code, reason, fields, message, details, body }: Verdict): unknown =>
  code === 0 ? { code, body } : { code, reason, fields, message, details };

/** The verdict alone: for what REST refuses for its form, before anybody looks for more faults. */
export const verdictOnly = ({ code, reason, body }: Verdict): unknown => (code === 0 ? { code, body } : { code, reason });

/** What no REST answer may show: it is between the service and its proxy. */
const LEAKS = ['bifrost-http-status', 'grpc-status', 'grpc-message', 'x-bifrost-checked'];

/** All verdicts are the same, and REST has the status of the code. Gives the one of the first door. */
export function expectSame(verdicts: ReadonlyMap<string, Verdict>, of = essence): Verdict {
  const [first, ...others] = [...verdicts];
  if (first === undefined) throw new RangeError('no doors');
  for (const [name, verdict] of others) expect([name, of(verdict)]).toEqual([name, of(first[1])]);
  const rest = [...verdicts.values()].filter(({ kind }) => kind === 'rest');
  for (const { http, reason, headers } of rest) {
    if (reason !== undefined) expect(http).toBe(ERROR_CODES[reason as ErrorCode].http);
    expect(http).toBe(rest[0]?.http);
    expect(LEAKS.filter((name) => headers.has(name))).toEqual([]);
  }
  return first[1];
}

/** Four services to which the same is done, each asked by another door: for calls that change something. */
export class Worlds implements AsyncDisposable {
  readonly issuer = new Issuer();
  readonly services: ReadonlyMap<DoorName, Service>;

  private constructor(services: ReadonlyMap<DoorName, Service>, issuer: Issuer) {
    this.services = services;
    this.issuer = issuer;
  }

  static async open(): Promise<Worlds> {
    const issuer = new Issuer();
    const opened = await Promise.all(DOORS.map(async (name): Promise<[DoorName, Service]> => [name, await Service.open({ issuer, only: name })]));
    return new Worlds(new Map(opened), issuer);
  }

  /** The same done to each. */
  async each<T>(work: (service: Service) => Promise<T>): Promise<T> {
    const results: T[] = [];
    for (const service of this.services.values()) {
      results.push(await work(service));
      await service.world.quiet();
    }
    for (const result of results) expect(result).toEqual(results[0]);
    return results[0] as T;
  }

  async call(method: string, request: Json, headers: Headers): Promise<Verdict> {
    const verdicts = new Map<string, Verdict>();
    for (const [name, service] of this.services) {
      const door: Door = service.doors[name];
      verdicts.set(name, await door.call(method, request, { headers }));
      await service.world.quiet();
    }
    return { ...expectSame(verdicts) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.services.values()].map((service) => service[Symbol.asyncDispose]()));
  }
}
