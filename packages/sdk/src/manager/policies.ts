import type { BifrostError } from '@bifrost/types/core';
import { type JudgedPolicy, readPolicy } from '../domain/policy/judge-policy.ts';
import type { Call } from './context.ts';
import { KeyedLock } from './keyed-lock.ts';

/** What came of a look at a policy: of each tailnet the hash of what it wanted then. */
interface Look {
  readonly atMs: number;
  readonly hashes: ReadonlyMap<string, string>;
  /** Why it is not as it is wanted: it stays so until something changes. */
  readonly error?: BifrostError;
  /** With an error: whether what is on record as written is in force all the same. */
  readonly holds?: boolean;
}

/** Of one tailnet's part in a policy, as it was written or found last. */
interface InForce {
  readonly hash: string;
  readonly tags: ReadonlySet<string>;
}

/** A tailnet of a thousand customers has a policy of megabytes: one that is asked of again and again is not read anew each time. */
const MOST_READ = 4;

/**
 * Policies that several tailnets have in common. One round at a time works on one, and what it found holds for the others' rounds that come with it:
 * each of them would read and compile all of it again.
 */
export class Policies {
  readonly #lock = new KeyedLock();
  readonly #looks = new Map<string, Look>();
  readonly #inForce = new Map<string, InForce>();
  #read: readonly { readonly text: string; readonly policy: JudgedPolicy | undefined }[] = [];

  /** One holder at a time. */
  alone<T>(group: string, call: Call, work: () => Promise<T>): Promise<T> {
    return this.#lock.run(group, call, work);
  }

  /** As {@link readPolicy}; of the last few texts what it made of them is kept. */
  read(text: string): JudgedPolicy | undefined {
    const known = this.#read.find((read) => read.text === text) ?? { text, policy: readPolicy(text) };
    this.#read = [known, ...this.#read.filter((read) => read !== known)].slice(0, MOST_READ);
    return known.policy;
  }

  saw(group: string, look: Look): void {
    this.#looks.set(group, look);
  }

  forget(group: string): void {
    this.#looks.delete(group);
  }

  /** Whether it was looked at since then with this wish of that tailnet in it; with what came of it. */
  lookSince(sinceMs: number, { group, key, hash }: { readonly group: string; readonly key: string; readonly hash: string }): Look | undefined {
    const look = this.#looks.get(group);
    return look !== undefined && look.atMs >= sinceMs && look.hashes.get(key) === hash ? look : undefined;
  }

  /** What the policy says of a tailnet now. */
  isInForce(key: string, part: InForce): void {
    this.#inForce.set(key, part);
  }

  /** The tags of a tailnet's part with that hash: another manager may have written a later one. Undefined: not known here. */
  tagsInForce(key: string, hash: string | undefined): ReadonlySet<string> | undefined {
    const part = this.#inForce.get(key);
    return part?.hash === hash ? part?.tags : undefined;
  }

  /** Whether another part than that one was written of a tailnet last, as far as is known here: who wrote it may not have it on record. */
  hasOther(key: string, hash: string): boolean {
    return (this.#inForce.get(key)?.hash ?? hash) !== hash;
  }

  forgetTailnet(key: string): void {
    this.#inForce.delete(key);
  }
}
