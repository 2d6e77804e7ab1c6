import { BifrostError, type Issue } from '@bifrost/types/core';
import { z } from 'zod';

/** One failing entry of a policy's tests, as the API words it. */
export interface FailedTest {
  readonly user: string;
  readonly errors: readonly string[];
}

/** A policy that is refused (HTTP 400 on the wire, with `data` when tests fail). The cause is the body that the API would send. */
export function policyRefused(message: string, data: readonly FailedTest[] = []): BifrostError {
  const faults: readonly Issue[] = data.flatMap(({ user, errors }) => errors.map((fault) => ({ path: 'policy', message: `${user}: ${fault}` })));
  return new BifrostError({
    code: 'POLICY_REFUSED',
    message: 'the control plane refused the policy; mend what the issues name',
    issues: faults.length > 0 ? faults : [{ path: 'policy', message }],
    details: { status: '400' },
    cause: data.length > 0 ? { message, data } : { message },
  });
}

const list = z
  .array(z.string())
  .nullish()
  .transform((value) => value ?? []);
const lists = z
  .record(z.string(), z.array(z.string()))
  .nullish()
  .transform((value) => value ?? {});
const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');
const app = z.record(z.string(), z.unknown()).nullish();
const entries = <T extends z.ZodType>(entry: T) => z.array(entry).nullish();

const Grant = z.strictObject({ src: list, dst: list, ip: list, via: list, srcposture: list, app });
const Acl = z.strictObject({ action: text, src: list, dst: list, users: list, ports: list, srcposture: list, proto: text });
const Ssh = z.strictObject({
  action: text,
  checkperiod: text,
  ...{ src: list, dst: list, users: list, recorder: list, acceptenv: list, srcposture: list },
  enforcerecorder: z.boolean().nullish(),
});
const NodeAttr = z.strictObject({ target: list, attr: list, app, ippool: list });
const Test = z.strictObject({ src: text, user: text, proto: text, accept: list, allow: list, deny: list, srcpostureattrs: app });
const SshTest = z.strictObject({ src: text, dst: list, accept: list, deny: list, check: list, srcpostureattrs: app });

/** The sections that Tailscale documents, by their names in lower case: any other is refused. */
const PolicyText = z.strictObject({
  ...{ groups: lists, ipsets: lists, tagowners: lists, postures: lists },
  hosts: z
    .record(z.string(), z.string())
    .nullish()
    .transform((value) => value ?? {}),
  grants: entries(Grant),
  acls: entries(Acl),
  ssh: entries(Ssh),
  nodeattrs: entries(NodeAttr),
  autoapprovers: z.strictObject({ routes: lists, services: lists, exitnode: list }).nullish(),
  tests: entries(Test),
  sshtests: entries(SshTest),
  defaultsrcposture: list,
  randomizeclientport: z.boolean().nullish(),
  ...{
    attrconfig: z.unknown().optional(),
    derpmap: z.unknown().optional(),
    disableipv4: z.unknown().optional(),
    onecgnatroute: z.unknown().optional(),
  },
});
/** A policy by its sections, their names and those of their fields in lower case. */
export type PolicySections = z.infer<typeof PolicyText>;
export type TestText = z.infer<typeof Test>;

/** HuJSON to JSON: comments and trailing commas become spaces, strings stay as they are. A comma that follows no value stays, and is no JSON. */
function standardize(hujson: string): string {
  const withoutComments = hujson.replace(/"(?:[^"\\\n]|\\.)*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (part) => (part.startsWith('"') ? part : ' '));
  return withoutComments.replace(/"(?:[^"\\\n]|\\.)*"|(?<=[\]}"\w]\s*),(?=\s*[}\]])/g, (part) => (part.startsWith('"') ? part : ' '));
}

/** Names of the object itself, as written; JSON.parse keeps the last of two in silence. */
function ownNames(json: string): readonly string[] {
  const names: string[] = [];
  let depth = 0;
  for (const [token, name] of json.matchAll(/("(?:[^"\\\n]|\\.)*")(?=\s*:)|"(?:[^"\\\n]|\\.)*"|[{}[\]]/g)) {
    if (token === '{' || token === '[') depth += 1;
    if (token === '}' || token === ']') depth -= 1;
    if (name !== undefined && depth === 1) names.push((JSON.parse(name) as string).toLowerCase());
  }
  return names;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const inLowerCase = (value: unknown): unknown =>
  isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, member]) => [name.toLowerCase(), member])) : value;

/** @throws {BifrostError} `POLICY_REFUSED` — not HuJSON, no object, or with a section or field that is not documented */
export function readPolicySections(hujson: string): PolicySections {
  const json = standardize(hujson);
  let policy: unknown;
  try {
    policy = JSON.parse(json);
  } catch {
    throw policyRefused('the policy is not HuJSON'); // the parser's own fault quotes its input
  }
  if (!isObject(policy)) throw policyRefused('the policy must be an object');
  const names = ownNames(json);
  if (new Set(names).size !== names.length) throw policyRefused('a section is there twice');
  const sections = Object.entries(policy).map(([name, section]) => {
    const known = name.toLowerCase();
    return [known, Array.isArray(section) ? section.map(inLowerCase) : known === 'autoapprovers' ? inLowerCase(section) : section];
  });
  const parsed = PolicyText.safeParse(Object.fromEntries(sections));
  if (parsed.success) return parsed.data;
  const [first] = parsed.error.issues;
  throw policyRefused(`${[...(first?.path ?? []), ...(first?.code === 'unrecognized_keys' ? first.keys : [])].join('.')} is not as documented`);
}
