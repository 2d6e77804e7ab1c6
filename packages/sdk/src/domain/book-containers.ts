import { CONTAINERS } from './names.ts';
import type { ContainerShape, PodTemplateShape } from './pod-shape.ts';

const OURS: ReadonlySet<string> = new Set(Object.values(CONTAINERS));

/** The containers of a template that are the book's own: its init containers first, as they start. */
export const bookContainers = ({ spec }: PodTemplateShape): readonly ContainerShape[] =>
  [...(spec.initContainers ?? []), ...spec.containers].filter(({ name }) => !OURS.has(name));
