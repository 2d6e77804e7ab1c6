import { type ApiObject, METADATA_ONLY, type StatusBody } from './api-types.ts';

/** What the answer to a request must be: anything else is no answer, whatever it says. */
export interface Expected {
  /** Of the document, such as `Pod` or `PodList`; where `accept` asks for metadata only, that may come instead. Empty: it says none, as `/version`. */
  readonly kind: string;
  readonly accept?: string;
  /** False: made for this one answer, so it has no version. @default true */
  readonly isStored?: boolean;
}

export type WatchEvent<T extends ApiObject> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly object: { readonly metadata: { readonly resourceVersion: string } } }
  | { readonly type: 'ERROR'; readonly object: StatusBody };

type Members = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Members => typeof value === 'object' && value !== null && !Array.isArray(value);
const isWord = (value: unknown): value is string => typeof value === 'string' && value !== '';
const isText = (value: unknown): boolean => value === undefined || typeof value === 'string';

const PARTIAL = new Map<string, string>([
  [METADATA_ONLY.object, 'PartialObjectMetadata'],
  [METADATA_ONLY.list, 'PartialObjectMetadataList'],
]);

const isOfKind = ({ kind }: Members, { kind: wanted, accept = '' }: Expected): boolean =>
  isWord(kind) && (kind === wanted || kind === PARTIAL.get(accept));

/** The metadata of what says its version. */
function versionedIn(value: unknown): Members | undefined {
  const metadata = isObject(value) ? value['metadata'] : undefined;
  return isObject(metadata) && isWord(metadata['resourceVersion']) ? metadata : undefined;
}

/** What every stored object says of itself. In a list it says no kind. */
function isStoredObject(value: unknown): value is ApiObject {
  const metadata = versionedIn(value);
  return metadata !== undefined && isWord(metadata['name']) && isWord(metadata['uid']);
}

/** Go writes an empty list as null; one that says nothing of its items is not empty. */
function isList(document: Members): boolean {
  const { items } = document;
  const metadata = versionedIn(document);
  if (metadata === undefined || !isText(metadata['continue'])) return false;
  return items === null || (Array.isArray(items) && items.every(isStoredObject));
}

/** True for a document that answers: no more is looked at than tells that it is no other, since it may hold thousands of objects. */
export function isAnswer<T>(document: unknown, expected: Expected): document is T {
  if (!isObject(document)) return false;
  if (expected.kind === '') return document['kind'] === undefined;
  if (!isOfKind(document, expected)) return false;
  if (expected.kind.endsWith('List')) return isList(document);
  return expected.isStored === false || isStoredObject(document);
}

const isCause = (value: unknown): boolean => isObject(value) && isText(value['reason']) && isText(value['message']) && isText(value['field']);

/** Kubernetes' own word about a request, good or bad. */
export function isStatus(document: unknown): document is StatusBody {
  if (!isObject(document) || document['kind'] !== 'Status' || !isText(document['reason']) || !isText(document['message'])) return false;
  const details = document['details'] ?? {};
  if (!isObject(details)) return false;
  const causes = details['causes'] ?? [];
  return Array.isArray(causes) && causes.every(isCause);
}

/** True for one line of a watch on objects of that kind. */
export function isWatchEvent<T extends ApiObject>(line: unknown, expected: Expected): line is WatchEvent<T> {
  if (!isObject(line)) return false;
  const { type, object } = line;
  if (type === 'ERROR') return isStatus(object);
  if (!isObject(object) || !isOfKind(object, expected)) return false;
  if (type === 'BOOKMARK') return versionedIn(object) !== undefined;
  return (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED') && isStoredObject(object);
}
