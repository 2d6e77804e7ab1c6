/** Control characters of both sets, what moves a line or its direction, and halves of characters: a terminal may obey them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is for
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]/gu;
/** The same without what JSON and YAML escape themselves, or break lines with. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is for
const UNSAFE_IN_DOCUMENT = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** One line that a terminal shows and does not obey: text of a server may hold anything. */
export const safeText = (text: string): string => text.replace(UNSAFE, escaped);

/** True for text that must be quoted before {@link safeDocument} may escape it. */
export const isUnsafe = (text: string): boolean => text.search(UNSAFE_IN_DOCUMENT) >= 0;

/** A JSON or YAML document in which everything unsafe stands between double quotes: escapes mean the same to its reader. */
export const safeDocument = (document: string): string => document.replace(UNSAFE_IN_DOCUMENT, escaped);
