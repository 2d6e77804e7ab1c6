import { InvalidArgumentError } from 'commander';

/** For an option that may come several times, or hold several values between commas. A variable that is unset must not make a list empty. */
export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  const parts = value.split(',').filter((part) => part !== '');
  if (parts.length === 0) throw new InvalidArgumentError('It takes at least one value.');
  return [...(before ?? []), ...parts];
}

export function wholeNumber(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('It takes a whole number.');
  return Number(value);
}

/** Where 0 would stand for one that was not given. */
export function portNumber(value: string): number {
  const port = Number(value);
  if (!/^\d{1,5}$/.test(value) || port < 1 || port > 65_535) throw new InvalidArgumentError('It takes a whole number from 1 to 65535.');
  return port;
}
