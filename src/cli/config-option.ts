import type { Command, Option } from 'commander';
import type { ConfigField, ConfigValues } from '../app/config/config-file.js';
import { messageOf, SnapnbdError, UsageError } from '../util/errors.js';

/** Options that make no sense in the file that one of them names, or for every command. */
const NOT_IN_FILE = new Set(['config', 'help', 'version']);

/** The keys that a file may have: one for each option of the command. */
export function configFieldsOf(command: Command): readonly ConfigField[] {
  return optionsOf(command).map((option) => ({
    name: nameOf(option),
    kind: option.isBoolean() ? 'flag' : isRepeatable(option) ? 'list' : 'text',
    ...(option.argChoices === undefined ? {} : { choices: option.argChoices }),
  }));
}

/** True for options that may be given several times. */
export function isRepeatable(option: Option): boolean {
  return option.description.includes('repeatable');
}

/**
 * The options of a command with those of a file: what stands on the command line wins.
 *
 * @param path of the file, for messages.
 * @throws {UsageError} for a value that the option does not take, or options that exclude one another.
 */
export function optionsWithFile(command: Command, values: ConfigValues, path: string): object {
  const options: Record<string, unknown> = { ...command.opts() };
  const given = new Set<string>();
  for (const option of optionsOf(command)) {
    const key = option.attributeName();
    if (command.getOptionValueSource(key) === 'cli') {
      given.add(key);
      continue;
    }
    const value = values.options.get(nameOf(option));
    if (value === undefined || value === false) continue;
    options[key] = valueOf(option, value, path);
    given.add(key);
  }
  checkConflicts(command, given, path);
  return options;
}

function optionsOf(command: Command): Option[] {
  return command.options.filter((option) => !NOT_IN_FILE.has(nameOf(option)));
}

/** `cache-size` for `--cache-size <SIZE>`. */
function nameOf(option: Option): string {
  return option.name();
}

function valueOf(option: Option, value: true | string | readonly string[], path: string): unknown {
  const { parseArg } = option;
  if (value === true) return true;
  const texts = typeof value === 'string' ? [value] : value;
  try {
    let parsed: unknown;
    for (const text of texts) {
      const earlier = isRepeatable(option) ? parsed : undefined;
      parsed = parseArg === undefined ? text : parseArg(text, earlier);
    }
    return parsed;
  } catch (error) {
    if (!(error instanceof SnapnbdError)) throw error;
    throw new UsageError(`Cannot use ${path}: ${nameOf(option)}: ${messageOf(error)}`, { cause: error });
  }
}

function checkConflicts(command: Command, given: ReadonlySet<string>, path: string): void {
  for (const option of optionsOf(command)) {
    if (!given.has(option.attributeName())) continue;
    const { conflictsWith } = option as unknown as { readonly conflictsWith: readonly string[] };
    const other = conflictsWith.find((key) => given.has(key));
    if (other === undefined) continue;
    const name =
      optionsOf(command)
        .find((candidate) => candidate.attributeName() === other)
        ?.name() ?? other;
    throw new UsageError(`Cannot use ${path}: ${nameOf(option)} and ${name} exclude one another.`);
  }
}
