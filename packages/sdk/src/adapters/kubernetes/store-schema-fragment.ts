import { z } from 'zod';
import type { SidecarFragment } from '../../domain/pod-shape.ts';

const named = (description: string, more: object = {}): object => ({
  description,
  type: 'array',
  items: { type: 'object', required: ['name'], 'x-kubernetes-preserve-unknown-fields': true, properties: { name: { type: 'string' }, ...more } },
});
const texts = (description: string): object => ({ description, type: 'object', additionalProperties: { type: 'string' } });

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null && !Array.isArray(value);

function isFragment(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { labels, annotations, initContainers, volumes, containers } = value;
  const lists = [initContainers, volumes, ...(containers === undefined ? [] : [containers])];
  return isRecord(labels) && isRecord(annotations) && lists.every((list) => Array.isArray(list) && list.every(isRecord));
}

/** A rendered fragment: kept as it is to the last member, since it is compared with what runs. */
export const fragmentSchema = z.custom<SidecarFragment>(isFragment, 'must be a fragment').meta({
  type: 'object',
  required: ['labels', 'annotations', 'initContainers', 'volumes'],
  'x-kubernetes-preserve-unknown-fields': true,
  properties: {
    labels: texts("Added to the pod template's labels."),
    annotations: texts("Added to the pod template's annotations."),
    initContainers: named("In start order; they come before the book's own init containers."),
    volumes: named("Added to the pod template's volumes."),
    containers: named("What is added to the book's own containers, by name.", {
      env: {
        type: 'array',
        items: { type: 'object', required: ['name'], 'x-kubernetes-preserve-unknown-fields': true, properties: { name: { type: 'string' } } },
      },
    }),
  },
});
