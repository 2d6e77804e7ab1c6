import { LABELS } from './names.ts';
import type { SidecarFragment } from './pod-shape.ts';

const OFFSET = 0xcbf29ce484222325n;
const PRIME = 0x100000001b3n;

/** FNV-1a of 64 bits over the text's code units: tells fragments apart by accident, not against somebody who wants two to look alike. */
function fnv1a(text: string): string {
  let hash = OFFSET;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    for (const byte of [unit & 0xff, unit >> 8]) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * PRIME);
  }
  return hash.toString(16).padStart(16, '0');
}

/** JSON with sorted keys: equal values are equal texts. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );

/** 16 hexadecimal digits that tell this fragment from others; its own annotation `bifrost.dev/fragment` does not count. */
export function fragmentHash({ annotations: { [LABELS.fragment]: _, ...annotations }, ...rest }: SidecarFragment): string {
  return fnv1a(canonical({ ...rest, annotations }));
}

/** The same fragment with its hash as annotation, so that each pod says which fragment it runs. */
export const withHash = (fragment: SidecarFragment): SidecarFragment => ({
  ...fragment,
  annotations: { ...fragment.annotations, [LABELS.fragment]: fragmentHash(fragment) },
});
