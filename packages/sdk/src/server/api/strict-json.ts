import { wrong } from './rest-error.ts';

/** Levels of a body; a workload's manifest has about fifteen. */
const MAX_DEPTH = 30; // each level is about three of a protobuf message, whose readers end at a hundred

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g;

/**
 * JSON as RFC 8259 has it, and as every door must read it alike: a name comes once in an object, text is Unicode, and nothing is nested without bound.
 *
 * @throws {BifrostError} `INVALID_ARGUMENT`
 */
export function parseStrict(text: string): unknown {
  const parsed = parse(text);
  checkTokens(text);
  return parsed;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw wrong('', 'The body is not JSON.');
  }
}

/** What `JSON.parse` lets through. The text is known to be JSON: a string before a colon is a name. */
function checkTokens(text: string): void {
  const names: (Set<string> | undefined)[] = [];
  let string = '';
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') {
      names.push(token === '{' ? new Set() : undefined);
      if (names.length > MAX_DEPTH) throw wrong('', `The body is nested more than ${MAX_DEPTH} levels deep.`);
    } else if (token === '}' || token === ']') names.pop();
    else if (token === ':') {
      const seen = names.at(-1);
      if (seen?.has(string)) throw wrong('', 'A name comes twice in an object of the body.');
      seen?.add(string);
    } else {
      string = token.includes('\\') ? (JSON.parse(token) as string) : token.slice(1, -1);
      if (!string.isWellFormed()) throw wrong('', 'A text of the body has half of a character.');
    }
  }
}
