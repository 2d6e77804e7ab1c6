import { BifrostError } from '@bifrost/types/core';
import { type HttpRule, httpOption, NetworkManager } from '@bifrost/types/proto';
import { type DescMethod, getOption, hasOption } from '@bufbuild/protobuf';

/** One REST path of a method, as its `google.api.http` says. */
export interface Binding {
  readonly method: DescMethod;
  readonly verb: string;
  /** Literal segments, and names of members in braces. */
  readonly segments: readonly string[];
  /** `:pause` at the end of the path. */
  readonly custom: string | undefined;
  /** The whole body is the request. */
  readonly hasBody: boolean;
}

/** A request's path that leads somewhere. */
export interface Match {
  readonly binding: Binding;
  /** Members bound by the path, names as in the proto. */
  readonly bound: ReadonlyMap<string, string>;
}

const VERBS = ['get', 'post', 'put', 'patch', 'delete'] as const;

function bindingOf(method: DescMethod, rule: HttpRule): Binding {
  const verb = VERBS.find((name) => rule.pattern.case === name);
  const template = verb === undefined ? '' : String(rule.pattern.value);
  const [, path = '', custom] = /^(\/[^:]+)(?::(\w+))?$/.exec(template) ?? [];
  if (verb === undefined || path === '' || /\*|=/.test(path) || !['', '*'].includes(rule.body) || rule.responseBody !== '')
    throw new BifrostError({ code: 'INVALID_OPTIONS', message: `${method.name}: this form of google.api.http is not served.` });
  return {
    method,
    verb: verb.toUpperCase(),
    segments: path.slice(1).split('/'),
    custom,
    hasBody: rule.body === '*',
  };
}

/** Every REST path of the service. */
export const bindingsOf = (methods: readonly DescMethod[] = NetworkManager.methods): readonly Binding[] =>
  methods.flatMap((method) => {
    if (!hasOption(method, httpOption)) return [];
    const rule = getOption(method, httpOption);
    return [rule, ...rule.additionalBindings].map((each) => bindingOf(method, each));
  });

const isVariable = (segment: string): boolean => segment.startsWith('{');

function bind({ segments, custom }: Binding, path: readonly string[]): ReadonlyMap<string, string> | undefined {
  if (path.length !== segments.length) return undefined;
  const bound = new Map<string, string>();
  for (const [index, segment] of segments.entries()) {
    let given = path[index] ?? '';
    if (index === segments.length - 1 && custom !== undefined) {
      if (!given.endsWith(`:${custom}`)) return undefined;
      given = given.slice(0, -custom.length - 1);
    }
    if (!isVariable(segment)) {
      if (given !== segment) return undefined;
    } else if (given === '') return undefined;
    else bound.set(segment.slice(1, -1), given);
  }
  return bound;
}

/** Where a request leads, by its method and its path, whose segments are still escaped. Custom verbs win over names with a colon. */
export function match(bindings: readonly Binding[], verb: string, path: string): Match | undefined {
  const segments = path.slice(1).split('/');
  const candidates = bindings.filter((binding) => binding.verb === verb);
  const custom = bindings.filter((binding) => binding.custom !== undefined);
  // With a custom verb of this place at its end it is no name, whatever the method: a transcoder in front says the same.
  const isCustom = custom.some((binding) => bind(binding, segments) !== undefined);
  for (const binding of candidates.filter((each) => (each.custom !== undefined) === isCustom)) {
    const bound = bind(binding, segments);
    if (bound !== undefined) return { binding, bound };
  }
  return undefined;
}
