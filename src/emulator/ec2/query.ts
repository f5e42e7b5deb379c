import { Ec2ApiError } from './ec2-error.js';

/** Members of one list: EC2 takes 200 values of a filter; ids may be more. */
const LIST_MAX = 1000;

/** A filter of a request. */
export interface QueryFilter {
  readonly name: string;
  readonly values: readonly string[];
}

/** The parameters of one request in the protocol of EC2: `Filter.1.Value.2=...`. */
export class Ec2Query {
  readonly #parameters: URLSearchParams;

  /** @param text as the body of a form, or the query of a URL. */
  constructor(text: string) {
    this.#parameters = new URLSearchParams(text);
  }

  get action(): string | undefined {
    return this.text('Action');
  }

  text(name: string): string | undefined {
    return this.#parameters.get(name) ?? undefined;
  }

  /** @throws {Ec2ApiError} when it is not `true` or `false`. */
  flag(name: string): boolean {
    const text = this.text(name) ?? 'false';
    if (text !== 'true' && text !== 'false') {
      throw invalidValue(name, text);
    }
    return text === 'true';
  }

  /** @throws {Ec2ApiError} when it is not a whole number of that range. */
  integer(name: string, min: number, max: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new Ec2ApiError(
      'InvalidParameterValue',
      `Value ( ${shown(text)} ) for parameter ${name} is invalid. Expecting a value from ${min} to ${max}.`,
    );
  }

  /** `NAME.1`, `NAME.2` and so on. */
  list(name: string): string[] {
    const found: string[] = [];
    for (let at = 1; at <= LIST_MAX; at += 1) {
      const text = this.text(`${name}.${at}`);
      if (text === undefined) return found;
      found.push(text);
    }
    throw new Ec2ApiError('InvalidParameterValue', `There are more than ${LIST_MAX} values of ${name}.`);
  }

  /** @throws {Ec2ApiError} when one of them has no values. */
  filters(): QueryFilter[] {
    const found: QueryFilter[] = [];
    for (let at = 1; at <= LIST_MAX; at += 1) {
      const name = this.text(`Filter.${at}.Name`);
      if (name === undefined) return found;
      const values = this.list(`Filter.${at}.Value`);
      if (values.length === 0)
        throw new Ec2ApiError('InvalidParameterValue', `The filter '${shown(name)}' has no value.`);
      found.push({ name, values });
    }
    throw new Ec2ApiError('FilterLimitExceeded', `There are more than ${LIST_MAX} filters.`);
  }
}

/** A value that a parameter cannot have. */
export function invalidValue(name: string, text: string): Ec2ApiError {
  return new Ec2ApiError('InvalidParameterValue', `Value (${shown(text)}) for parameter ${name} is invalid.`);
}

/** What a client sent, short enough for a message. */
export function shown(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}
