import type { Admin, KubeObject } from './admin.ts';

const COLLECTIONS = {
  tailnets: ['/apis/network.bifrost.dev/v1alpha1/tailnets'],
  attachments: ['/apis/network.bifrost.dev/v1alpha1/sidecarattachments'],
  secrets: ['/api/v1/secrets'],
  workloads: ['/apis/apps/v1/deployments', '/apis/apps/v1/statefulsets'],
  pods: ['/api/v1/pods'],
} as const;
export type Kind = keyof typeof COLLECTIONS;

/** What the API server holds, followed by watches: to look often costs it nothing. What counts is read directly in the end. */
export class Mirror {
  readonly #objects = new Map<Kind, Map<string, KubeObject>>();

  follow(admin: Admin): void {
    for (const [kind, paths] of Object.entries(COLLECTIONS) as [Kind, readonly string[]][]) {
      const known = new Map<string, KubeObject>();
      this.#objects.set(kind, known);
      for (const path of paths)
        void admin.follow(path, (type, object) => {
          if (type === 'DELETED') known.delete(object.metadata.uid);
          else known.set(object.metadata.uid, object);
        });
    }
  }

  /** All objects of that kind; `namespace` narrows it. */
  list(kind: Kind, namespace?: string): readonly KubeObject[] {
    const all = [...(this.#objects.get(kind)?.values() ?? [])];
    return namespace === undefined ? all : all.filter(({ metadata }) => metadata.namespace === namespace);
  }
}
