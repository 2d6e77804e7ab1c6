/** What the command ends with; docs/guides/command-line.md says the same. */
export const EXIT = {
  ok: 0,
  /** The request was understood and refused. */
  refused: 1,
  /** The command line is wrong, or says too little. */
  usage: 2,
  /** `prove`, `firewall`, `leftovers` or `doctor` found something. */
  found: 3,
  /** Nobody answered, not in time, or not sensibly: the same again may work. */
  unavailable: 4,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
