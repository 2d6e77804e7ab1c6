import { type Answer, segment } from './answers.ts';
import { type ApiObject, METADATA_ONLY } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';

/** What a namespace says of itself. Read each time: whose it is decides who may reach what, so it is never remembered. */
export function readNamespace(connection: KubernetesConnection, name: string, signal: AbortSignal): Promise<Answer<ApiObject>> {
  const path = `/api/v1/namespaces/${segment(name)}`;
  return connection.send<ApiObject>({ operation: 'namespaces.get', kind: 'Namespace', method: 'GET', path, accept: METADATA_ONLY.object, signal });
}
