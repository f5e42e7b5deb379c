import { SNAPSHOT_ID_PATTERN } from '../ebs/constants.js';
import { frameworkError } from './errors.js';

/** What the service model says of a text. */
export interface TextLimits {
  readonly lengthMin?: number;
  readonly lengthMax?: number;
  readonly pattern?: RegExp;
  readonly allowed?: readonly string[];
}

/** What the service model says of a whole number. */
export interface IntegerLimits {
  readonly min?: number;
  readonly max?: number;
}

/** The model's own pattern is wider than the ids there are. */
const MODEL_SNAPSHOT_ID = /^snap-[0-9a-f]+$/;
const SNAPSHOT_ID_LENGTH_MAX = 64;
const TOKEN_PATTERN = /^[A-Za-z0-9+/=]+$/;
const TOKEN_LENGTH_MAX = 256;

/**
 * Checks the fields of a request against the service model, as the framework in front of the service does: every
 * violation is collected, and {@link Constraints.verify} throws them in one error without a reason.
 * [ebs: Errors / framework]
 */
export class Constraints {
  readonly #violations: string[] = [];

  /** Throws what was found. @throws {ApiError} ValidationException without reason. */
  verify(): void {
    const count = this.#violations.length;
    if (count === 0) return;
    const heading = `${count} validation error${count === 1 ? '' : 's'} detected: `;
    throw frameworkError('ValidationException', heading + this.#violations.join('; '));
  }

  /** A field that must be there. */
  required(field: string, value: string | number | undefined): void {
    if (value === undefined) this.#fail('null', field, 'Member must not be null');
  }

  /** A text within its limits; absent is fine. */
  text(field: string, value: string | undefined, limits: TextLimits): void {
    if (value === undefined) return;
    const { lengthMin = 0, lengthMax, pattern, allowed } = limits;
    if (value.length < lengthMin)
      this.#fail(`'${value}'`, field, `Member must have length greater than or equal to ${lengthMin}`);
    if (lengthMax !== undefined && value.length > lengthMax)
      this.#fail(`'${value}'`, field, `Member must have length less than or equal to ${lengthMax}`);
    if (pattern?.test(value) === false)
      this.#fail(`'${value}'`, field, `Member must satisfy regular expression pattern: ${pattern.source}`);
    if (allowed?.includes(value) === false)
      this.#fail(`'${value}'`, field, `Member must satisfy enum value set: [${allowed.join(', ')}]`);
  }

  /** A whole number within its limits. */
  integer(field: string, value: number | undefined, limits: IntegerLimits): void {
    if (value === undefined) return;
    const { min, max } = limits;
    if (min !== undefined && value < min)
      this.#fail(`'${value}'`, field, `Member must have value greater than or equal to ${min}`);
    if (max !== undefined && value > max)
      this.#fail(`'${value}'`, field, `Member must have value less than or equal to ${max}`);
  }

  /** A list that is not too long. */
  length(field: string, count: number, lengthMax: number): void {
    if (count > lengthMax)
      this.#fail(`'[...]'`, field, `Member must have length less than or equal to ${lengthMax}`);
  }

  snapshotId(field: string, value: string | undefined): void {
    this.text(field, value, {
      lengthMin: 1,
      lengthMax: SNAPSHOT_ID_LENGTH_MAX,
      pattern: MODEL_SNAPSHOT_ID,
    });
  }

  token(field: string, value: string | undefined): void {
    this.text(field, value, { lengthMax: TOKEN_LENGTH_MAX, pattern: TOKEN_PATTERN });
  }

  #fail(value: string, field: string, constraint: string): void {
    const shown = value.length > 100 ? `${value.slice(0, 100)}...'` : value;
    const quoted = value === 'null' ? 'null' : shown;
    this.#violations.push(`Value ${quoted} at '${field}' failed to satisfy constraint: ${constraint}`);
  }
}

/** A whole number as it stands in a path, a query or a header. @throws {ApiError} when it is something else. */
export function parseInteger(field: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(value))
    throw frameworkError('SerializationException', `'${text.slice(0, 40)}' at '${field}' is not an integer`);
  return value;
}

/** True for ids that can exist; the model lets more pass. */
export function isSnapshotId(text: string): boolean {
  return SNAPSHOT_ID_PATTERN.test(text);
}
