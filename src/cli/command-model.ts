import type { Command, Option } from 'commander';

/** One command as everything that is written about the command line has it. */
export interface CommandModel {
  /** `snapnbd emulator import`. */
  readonly path: string;
  readonly description: string;
  /** What follows the path: `[options] <NAME>`. */
  readonly usage: string;
  readonly args: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly OptionModel[];
  /** Examples and notes that stand below the options. */
  readonly notes: string;
  readonly children: readonly CommandModel[];
}

/** One option. */
export interface OptionModel {
  /** `-V, --version` or `--listen <ADDRESS>`. */
  readonly flags: string;
  /** `--listen`. */
  readonly long: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  readonly description: string;
  /** As help has it; undefined where the description says it, or there is none. */
  readonly defaultText: string | undefined;
}

/** Everything that the command line knows of itself. */
export function modelOf(command: Command, parentPath = ''): CommandModel {
  const path = parentPath === '' ? command.name() : `${parentPath} ${command.name()}`;
  const help = command.createHelp();
  return {
    path,
    description: command.description(),
    usage: command.usage(),
    args: command.registeredArguments.map((argument) => ({
      name: argument.name(),
      description: argument.description,
    })),
    options: help.visibleOptions(command).map(optionModelOf),
    notes: notesOf(command),
    children: command.commands.map((child) => modelOf(child, path)),
  };
}

function optionModelOf(option: Option): OptionModel {
  const isSaid = option.defaultValue === undefined || option.isBoolean() || option.negate;
  return {
    flags: option.flags,
    long: option.long ?? option.flags,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
    description: option.description,
    defaultText: isSaid ? undefined : JSON.stringify(option.defaultValue).replaceAll('"', ''),
  };
}

/** Commander writes them only as a part of the help. */
function notesOf(command: Command): string {
  let text = '';
  // A command is an emitter, which its types leave out.
  (command as unknown as NodeJS.EventEmitter).emit('afterHelp', {
    error: false,
    command,
    write: (part: string) => (text += part),
  });
  return text.trim();
}
