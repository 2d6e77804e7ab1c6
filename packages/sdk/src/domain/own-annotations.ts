import { ANNOTATION_PREFIX } from './names.ts';

/** The annotations that are ours to read. */
export const ownAnnotations = (annotations: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(annotations ?? {}).filter(([name]) => name.startsWith(ANNOTATION_PREFIX)));
