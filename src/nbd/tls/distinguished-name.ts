import { UsageError } from '../../util/errors.js';

/** The parts of a distinguished name, such as `CN=laptop`, in the order in which they were written. */
type NameParts = readonly string[];

/**
 * Reads a distinguished name as people and tools write it: `CN=laptop,O=Example,C=GB`. A comma within a value is written
 * with a backslash before it.
 *
 * @throws {UsageError} when a part of it is not TYPE=value.
 */
export function parseDistinguishedName(text: string): NameParts {
  const parts = text.match(/(?:\\.|[^,\\])+/g) ?? [];
  if (parts.length === 0 || parts.some((part) => !/^\s*[A-Za-z0-9.]+\s*=/.test(part))) {
    throw new UsageError(
      `Cannot read "${text}" as the name in a certificate: write it as in CN=laptop,O=Example,C=GB.`,
    );
  }
  return parts.map(normalPart);
}

/**
 * True when the subject of a certificate is exactly this name. Tools write the parts in either order, so that both are
 * the same name.
 *
 * @param subject a part a line, with backslashes before commas, as `X509Certificate.subject` has it.
 */
export function isSubjectNamed(subject: string, name: NameParts): boolean {
  const parts = subject.split('\n').map(normalPart);
  return isEqual(parts, name) || isEqual(parts, [...name].reverse());
}

function normalPart(part: string): string {
  const at = part.indexOf('=');
  const value = part
    .slice(at + 1)
    .trim()
    .replaceAll(/\\(.)/g, '$1');
  return `${part.slice(0, at).trim().toUpperCase()}=${value}`;
}

function isEqual(one: NameParts, other: NameParts): boolean {
  return one.length === other.length && one.every((part, index) => part === other[index]);
}
