/** Adds to the list of a key, in place: a tag of thousands of devices must not have its list copied for each. */
export function addTo<Value>(map: Map<string, Value[]>, key: string, value: Value): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}

/** Devices, or whatever carries tags, by each of their tags. */
export function byTag<Tagged extends { readonly tags: readonly string[] }>(all: readonly Tagged[]): ReadonlyMap<string, readonly Tagged[]> {
  const found = new Map<string, Tagged[]>();
  for (const tagged of all) for (const tag of tagged.tags) addTo(found, tag, tagged);
  return found;
}
