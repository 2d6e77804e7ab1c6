import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { GuardFiles } from '../../ports/guard-files.ts';

/** The guard may have no right to read what others may not: it is root without the capabilities of root. */
const FOR_ALL = 0o644;

/** Files of volumes that agent and guard share: each writes one of them and only reads the other. */
export const guardFilesAt = ({ order, holds }: { readonly order: string; readonly holds: string }): GuardFiles => ({
  put(text) {
    try {
      writeFileSync(`${order}.new`, text, { mode: FOR_ALL });
      renameSync(`${order}.new`, order);
      return true;
    } catch {
      return false; // no room, or the volume is gone: the manager sends it again
    }
  },
  holds() {
    try {
      return readFileSync(holds, 'utf8').trim();
    } catch {
      return undefined; // the guard has not said anything yet
    }
  },
});
