import { BifrostError } from '@bifrost/types/core';
import type { DaemonStatus } from '../../src/domain/daemon.ts';
import type { PingAnswer } from '../../src/domain/pings.ts';
import type { DaemonPrefs, DroppedPackets, Identity } from '../../src/domain/survey.ts';
import type { CallOptions, DaemonCheck, LocalApi } from '../../src/ports/local-api.ts';
import type { Surroundings } from '../../src/ports/surroundings.ts';
import { status } from './views.ts';

type Answer<T> = T | BifrostError;
const give = async <T>(answer: Answer<T>): Promise<T> => {
  if (BifrostError.is(answer)) throw answer;
  return answer;
};

export const unavailable = (reason: string): BifrostError =>
  new BifrostError({ code: 'LOCALAPI_UNAVAILABLE', message: 'as the test says', details: { reason } });

/** A daemon's LocalAPI in this process: each method gives what its member says, or throws it. `asked` keeps the calls in order. */
export class FakeLocalApi implements LocalApi {
  readonly asked: string[] = [];
  statusIs: Answer<DaemonStatus> = status();
  answersIs = true;
  pingIs: (ip: string, sizeBytes: number | undefined) => Answer<PingAnswer | undefined> = () => ({ latencyMs: 5, path: 'direct' });
  whoIsIs: (ip: string) => Answer<Identity | undefined> = () => ({ tags: ['tag:a'] });
  prefsIs: Answer<DaemonPrefs | undefined> = { advertisedRoutes: [], wantsToRun: true, controlUrl: '' };
  warnings = new Map<DaemonCheck, Answer<boolean | undefined>>();
  droppedIs: Answer<DroppedPackets | undefined>;

  status() {
    return this.#give('status', this.statusIs);
  }
  answers() {
    return this.#give('answers', this.answersIs);
  }
  ping(ip: string, { sizeBytes }: CallOptions & { readonly sizeBytes?: number }) {
    return this.#give(`ping ${ip}${sizeBytes === undefined ? '' : ` ${sizeBytes}`}`, this.pingIs(ip, sizeBytes));
  }
  async *watch() {
    // Says nothing and ends.
  }
  whoIs(ip: string) {
    return this.#give(`whois ${ip}`, this.whoIsIs(ip));
  }
  prefs() {
    return this.#give('prefs', this.prefsIs);
  }
  warns(check: DaemonCheck) {
    return this.#give(check, this.warnings.get(check));
  }
  droppedPackets() {
    return this.#give('drops', this.droppedIs);
  }
  async [Symbol.asyncDispose]() {}

  #give<T>(what: string, answer: Answer<T>): Promise<T> {
    this.asked.push(what);
    return give(answer);
  }
}

export const surroundings = (part: Partial<Surroundings> = {}): Surroundings => ({
  forwards: () => true,
  controlAnswers: async () => true,
  ...part,
});

/** A clock that stands still unless the test moves it; without chance. */
export function handClock() {
  const time = { ms: 1_000_000 };
  return {
    advance: (milliseconds: number) => {
      time.ms += milliseconds;
    },
    nowMs: () => time.ms,
    monotonicMs: () => time.ms,
    random: () => 0.5,
    newId: () => 'id',
  };
}
