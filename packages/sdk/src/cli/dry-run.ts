import { BifrostError, type ErrorCode } from '@bifrost/types/core';
import type { JsonValue } from '@bufbuild/protobuf';
import type { Session } from './session.ts';

/** What a call would do, told without doing it. `would`: one word for programs. */
export interface Dry {
  readonly would: string;
  readonly lines: readonly string[];
  readonly more?: Readonly<Record<string, JsonValue>>;
}

export function tellDry(session: Session, { would, lines, more = {} }: Dry): void {
  session.show.answer({ dry_run: true, would, ...more }, () => lines);
}

/** The call would be refused: so is the dry run, with the same code. */
export const wouldBeRefused = (code: ErrorCode, message: string, path: string): BifrostError =>
  new BifrostError({ code, message, issues: [{ path, message: 'is why it would be refused' }] });
