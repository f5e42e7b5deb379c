import { readFile, stat } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { EnvironmentError, UsageError } from '../../util/errors.js';
import { suggest } from '../../util/suggest.js';
import { systemReason } from '../../util/system-reason.js';

/** Ten thousand exports; more is some other file. */
const FILE_BYTES_MAX = 1024 * 1024;

/** Messages of one line: what is wrong after these is most likely wrong for the same reason. */
const ISSUES_SHOWN_MAX = 3;

/** What an option of the command line takes, and so the key of that name. */
export interface ConfigField {
  /** Of the option, without hyphens before it. */
  readonly name: string;
  readonly kind: 'flag' | 'text' | 'list';
  /** The only values that are allowed. Default: whatever the option takes. */
  readonly choices?: readonly string[] | undefined;
}

/** What a file says, as the command line would. */
export interface ConfigValues {
  /** As EXPORT arguments. Undefined when the file has none. */
  readonly exports: readonly string[] | undefined;
  /** Texts by the names of the options: one, or several where the option may be given several times. */
  readonly options: ReadonlyMap<string, boolean | string | readonly string[]>;
}

/**
 * Reads a file for `snapnbd serve --config`: YAML with `exports` and any option by its name.
 *
 * @throws {EnvironmentError} when it cannot be read; {UsageError} in one line for the first things wrong in it, with their
 *   places and what is allowed.
 */
export async function readConfigFile(path: string, fields: readonly ConfigField[]): Promise<ConfigValues> {
  return parseConfig(await readBounded(path), path, fields);
}

/** Reads the text of such a file. @param path for messages. */
export function parseConfig(text: string, path: string, fields: readonly ConfigField[]): ConfigValues {
  // Every scalar stays the text that it is: 0660, on and 1e3 mean what they mean on the command line.
  const document = parseDocument(text, { schema: 'failsafe', prettyErrors: true, uniqueKeys: true });
  const [broken] = document.errors;
  if (broken !== undefined) {
    const [reason = ''] = broken.message.split('\n');
    throw new UsageError(`Cannot read ${path}: it is not YAML: ${reason.replace(/:$/, '')}.`);
  }
  const contents = readContents(document, path);
  const result = schemaOf(fields).safeParse(contents);
  if (!result.success) {
    const names = ['exports', ...fields.map(({ name }) => name)];
    const texts = result.error.issues.flatMap((issue) => textsOf(issue, names));
    const more = texts.length - ISSUES_SHOWN_MAX;
    const shown = texts.slice(0, ISSUES_SHOWN_MAX).join('; ');
    throw new UsageError(`Cannot use ${path}: ${shown}${more > 0 ? `; and ${more} more` : ''}.`);
  }
  const { exports, ...options } = result.data as Record<string, unknown>;
  return {
    exports: exports as readonly string[] | undefined,
    options: new Map(Object.entries(options as Record<string, boolean | string | readonly string[]>)),
  };
}

async function readBounded(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > FILE_BYTES_MAX) {
      throw new EnvironmentError(`Cannot read ${path}: it is longer than ${FILE_BYTES_MAX} bytes.`);
    }
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof EnvironmentError) throw error;
    throw new EnvironmentError(`Cannot read the configuration ${path}: ${systemReason(error)}.`, {
      cause: error,
    });
  }
}

/** An empty file says nothing, which is fine. */
function readContents(document: ReturnType<typeof parseDocument>, path: string): unknown {
  try {
    const contents: unknown = document.toJS({ maxAliasCount: 100 });
    return contents === null || contents === undefined || contents === '' ? {} : contents;
  } catch (error) {
    throw new UsageError(`Cannot read ${path}: its aliases (*name) cannot be resolved.`, { cause: error });
  }
}

const TEXT_ERROR = 'has to be one value';
const FLAG_ERROR = 'has to be true or false';
const EXPORTS_ERROR = 'has to be a list of EXPORTs, or NAME: SOURCE pairs';

function schemaOf(fields: readonly ConfigField[]): z.ZodType {
  const exports = z.union(
    [
      z.array(z.string()).min(1, { error: EXPORTS_ERROR }),
      z
        .record(z.string(), z.string())
        .transform((pairs) => Object.entries(pairs).map(([name, source]) => `${name}=${source}`)),
    ],
    { error: EXPORTS_ERROR },
  );
  return z.strictObject(
    {
      exports: exports.optional(),
      ...Object.fromEntries(fields.map((field) => [field.name, fieldSchemaOf(field).optional()])),
    },
    { error: (issue) => (issue.code === 'invalid_type' ? 'it has to hold KEY: VALUE pairs' : undefined) },
  );
}

function fieldSchemaOf({ kind, choices }: ConfigField): z.ZodType {
  if (kind === 'flag') {
    return z.enum(['true', 'false'], { error: FLAG_ERROR }).transform((text) => text === 'true');
  }
  if (choices !== undefined) {
    return z.enum(choices as [string, ...string[]], { error: `has to be one of ${choices.join(', ')}` });
  }
  if (kind === 'text') return z.string({ error: TEXT_ERROR });
  return z.union(
    [
      z.array(z.string()),
      z.string().transform((text) => [text]),
      z
        .record(z.string(), z.string())
        .transform((pairs) => Object.entries(pairs).map(([key, value]) => `${key}=${value}`)),
    ],
    { error: 'has to be a value, a list of values, or KEY: VALUE pairs' },
  );
}

function textsOf(issue: z.core.$ZodIssue, names: readonly string[]): string[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const meant = suggest(key, names);
      const hint =
        meant === undefined
          ? 'the keys are exports and the names of the options of serve'
          : `did you mean ${meant}?`;
      return `${JSON.stringify(key.slice(0, 60))} is not known (${hint})`;
    });
  }
  const place = issue.path.map(String).join('.');
  return [place === '' ? issue.message : `${place} ${issue.message}`];
}
