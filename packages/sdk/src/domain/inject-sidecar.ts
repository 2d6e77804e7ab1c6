import { withFragment } from './attach-plan.ts';
import type { PodTemplateShape, SidecarFragment } from './pod-shape.ts';

export interface WorkloadManifest {
  readonly kind?: string;
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
  readonly spec: { readonly template?: PodTemplateShape; readonly jobTemplate?: { readonly spec: { readonly template: PodTemplateShape } } };
}

export function injectSidecar<Manifest extends WorkloadManifest>(manifest: Manifest, fragment: SidecarFragment): Manifest {
  const { template } = manifest.spec;
  return template === undefined ? manifest : { ...manifest, spec: { ...manifest.spec, template: withFragment(template, fragment) } };
}
