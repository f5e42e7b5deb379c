import type { CommandModel, OptionModel } from './command-model.js';

/** docs/CLI.md: every command with all its options, as the commands themselves have them. */
export function markdownReference(program: CommandModel): string {
  return [
    '# The command line',
    '',
    'Made from the commands by `scripts/cli-reference`; a test holds it against them.',
    '',
    ...program.children.flatMap((command) => markdownOf(command)),
  ].join('\n');
}

function markdownOf(command: CommandModel): string[] {
  const lines = [`## ${command.path}`, '', sentence(command.description), ''];
  if (command.children.length === 0) lines.push('```', `${command.path} ${command.usage}`.trim(), '```', '');
  for (const { name, description } of command.args) lines.push(`- \`${name}\`: ${cell(description)}`);
  if (command.args.length > 0) lines.push('');
  const options = command.options.filter(({ long }) => long !== '--help');
  if (options.length > 0) {
    lines.push('| option | |', '|---|---|');
    for (const option of options) lines.push(`| \`${cell(option.flags)}\` | ${cell(textOf(option))} |`);
    lines.push('');
  }
  if (command.notes !== '') lines.push('```', command.notes, '```', '');
  return [...lines, ...command.children.flatMap((child) => markdownOf(child))];
}

/** docs/CONFIG.md: what a file for `serve --config` may have. */
export function configReference(serve: CommandModel): string {
  const options = serve.options.filter(({ long }) => !['--help', '--config'].includes(long));
  return [
    '# The configuration file',
    '',
    '`snapnbd serve --config FILE` reads YAML: `exports`, and any option of `serve` by its name without the hyphens. What stands on the',
    'command line wins. Every value is the text that it would be there (`0660`, `on`, `20GiB`); an option that may be given',
    'several times takes a list, and `tag` also `KEY: VALUE` pairs. A key that is not known is refused.',
    '',
    '```yaml',
    'exports:                              # or a list of EXPORTs as on the command line',
    '  root: snap-0123456789abcdef0        # the first is the default export',
    '  data: snap-0123456789abcdef1,since=snap-0123456789abcdef2',
    '  scratch: memory:1GiB',
    'region: eu-west-1',
    'listen: [127.0.0.1:10809, "unix:/run/snapnbd/snapnbd.sock"]',
    'cache-dir: /var/cache/snapnbd',
    'cache-size: 100GiB',
    'hydrate: true',
    '```',
    '',
    'SIGHUP reads it again. Exports that are new are opened and offered, those that are gone get no new clients and are closed',
    'when their last one leaves, the others go on untouched. An export that can be written and is to be something else, and every',
    'other option, needs a restart; the log says which. A file with a mistake, or with an export that cannot be opened, changes',
    'nothing.',
    '',
    'Made from the commands by `scripts/cli-reference`; a test holds it against them.',
    '',
    '| key | value |',
    '|---|---|',
    '| `exports` | a list of EXPORTs, or `NAME: SOURCE` pairs |',
    ...options.map((option) => `| \`${option.long.slice(2)}\` | ${cell(valueTextOf(option))} |`),
    '',
  ].join('\n');
}

function valueTextOf(option: OptionModel): string {
  return option.takesValue ? textOf(option) : `true or false: ${option.description}`;
}

/** man/snapnbd.1. [man(7)] */
export function manualPage(program: CommandModel, version: string): string {
  const lines = [
    `.TH SNAPNBD 1 "" "snapnbd ${version}" "User Commands"`,
    '.SH NAME',
    `snapnbd \\- ${roff(program.description)}`,
    '.SH SYNOPSIS',
    '.B snapnbd',
    '.I COMMAND',
    '[options]',
    '.SH DESCRIPTION',
    roff(
      'snapnbd serves EBS snapshots as network block devices, fetching only the blocks that are read, and makes new snapshots of what is written.',
    ),
    '.SH COMMANDS',
    ...program.children.flatMap((command) => manualOf(command)),
    '.SH EXIT STATUS',
    '0: done; 1: failed; 2: called wrongly. Each failure is one line that says what to do.',
    '.SH ENVIRONMENT',
    roff(
      'AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID and the others of the AWS CLI; AWS_ENDPOINT_URL_EBS, AWS_ENDPOINT_URL_EC2; HTTPS_PROXY, NO_PROXY, AWS_CA_BUNDLE; NO_COLOR; LISTEN_FDS and NOTIFY_SOCKET of systemd.',
    ),
    '.SH SEE ALSO',
    '.BR nbd-client (8),',
    '.BR nbdinfo (1),',
    '.BR qemu-img (1)',
  ];
  return `${lines.join('\n')}\n`;
}

function manualOf(command: CommandModel): string[] {
  const lines = [
    `.SS "${roff(`${command.path} ${command.usage}`.trim())}"`,
    roff(sentence(command.description)),
  ];
  for (const { name, description } of command.args) lines.push('.TP', `.I ${roff(name)}`, roff(description));
  for (const option of command.options.filter(({ long }) => long !== '--help')) {
    lines.push('.TP', `.B ${roff(option.flags)}`, roff(textOf(option)));
  }
  if (command.notes !== '') {
    lines.push('.PP', '.nf', ...command.notes.split('\n').map((line) => roff(line)), '.fi');
  }
  return [...lines, ...command.children.flatMap((child) => manualOf(child))];
}

function textOf({ description, choices, defaultText }: OptionModel): string {
  const parts = [description];
  if (choices.length > 0) parts.push(`one of ${choices.join(', ')}`);
  if (defaultText !== undefined) parts.push(`default: ${defaultText}`);
  return parts.join('; ');
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** Within a table. */
function cell(text: string): string {
  return text.replace(/\s+/g, ' ').replaceAll('|', '\\|');
}

/** A line that begins with a dot or an apostrophe would be a request. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('"', '\\(dq')
    .replace(/^(?=[.'])/, '\\&');
}
