import type { CommandModel, OptionModel } from './command-model.js';

/** A command, and all below it. */
function everyCommand(model: CommandModel): readonly CommandModel[] {
  return [model, ...model.children.flatMap(everyCommand)];
}

/** Options that name a file or a folder. */
function isPath({ flags }: OptionModel): boolean {
  return /<(?:DIR|FILE|PATH|IMAGE)>/.test(flags);
}

function optionsOf(model: CommandModel): readonly OptionModel[] {
  return model.options.filter(({ long }) => long.startsWith('--'));
}

/** A script for bash, which also lists what can be completed for each command in two tables. */
export function bashCompletion(program: CommandModel): string {
  const words: string[] = [];
  const values: string[] = [];
  for (const command of everyCommand(program)) {
    const children = command.children.map(({ path }) => path.split(' ').at(-1) ?? '');
    const candidates = [...children, ...optionsOf(command).map(({ long }) => long)].join(' ');
    words.push(`    ${quoted(command.path)}) words=${quoted(candidates)};;`);
    for (const option of optionsOf(command).filter(({ takesValue }) => takesValue)) {
      const kind = option.choices.length > 0 ? option.choices.join(' ') : isPath(option) ? '@file' : '@none';
      values.push(`    ${quoted(`${command.path} ${option.long}`)}) values=${quoted(kind)};;`);
    }
  }
  return `# bash completion for snapnbd. Made by "snapnbd completion bash".
_snapnbd() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} path=snapnbd word words= values= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case "$path $word" in
${everyCommand(program)
  .slice(1)
  .map(({ path }) => `    ${quoted(path)}) path=${quoted(path)};;`)
  .join('\n')}
    esac
  done
  if [[ $cur == '=' ]]; then cur=; elif [[ $prev == '=' ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
  case "$path $prev" in
${values.join('\n')}
  esac
  case $values in
    @file) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames 2>/dev/null; return;;
    @none) COMPREPLY=(); return;;
    ?*) mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur"); return;;
  esac
  case $path in
${words.join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _snapnbd snapnbd
`;
}

/** A script for zsh: that of bash, by way of its own compatibility. */
export function zshCompletion(program: CommandModel): string {
  const cases = everyCommand(program).map((command) => {
    const children = command.children.map(
      ({ path, description }) => `${path.split(' ').at(-1) ?? ''}:${firstSentence(description)}`,
    );
    const options = optionsOf(command).map(
      ({ long, description }) => `${long}:${firstSentence(description)}`,
    );
    return `    ${quoted(command.path)}) candidates=(${[...children, ...options].map((text) => quoted(text)).join(' ')});;`;
  });
  const values = everyCommand(program).flatMap((command) =>
    optionsOf(command)
      .filter(({ takesValue }) => takesValue)
      .map((option) => {
        const action =
          option.choices.length > 0
            ? `compadd -- ${option.choices.map(quoted).join(' ')}`
            : isPath(option)
              ? '_files'
              : '_message value';
        return `    ${quoted(`${command.path} ${option.long}`)}) ${action}; return;;`;
      }),
  );
  return `#compdef snapnbd
# zsh completion for snapnbd. Made by "snapnbd completion zsh".
_snapnbd() {
  local path_=snapnbd word
  local -a candidates
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$path_ $word" in
${everyCommand(program)
  .slice(1)
  .map(({ path }) => `    ${quoted(path)}) path_=${quoted(path)};;`)
  .join('\n')}
    esac
  done
  case "$path_ \${words[CURRENT-1]}" in
${values.join('\n')}
  esac
  case $path_ in
${cases.join('\n')}
  esac
  _describe snapnbd candidates || _files
}
if [ "$funcstack[1]" = _snapnbd ]; then _snapnbd "$@"; else compdef _snapnbd snapnbd; fi
`;
}

/** A script for fish. */
export function fishCompletion(program: CommandModel): string {
  const lines = ['# fish completion for snapnbd. Made by "snapnbd completion fish".'];
  for (const command of everyCommand(program)) {
    const [, ...path] = command.path.split(' ');
    const names = command.children.map((child) => child.path.split(' ').at(-1) ?? '');
    const seen = path.map((name) => `__fish_seen_subcommand_from ${name}`);
    const notYet = names.length === 0 ? [] : [`not __fish_seen_subcommand_from ${names.join(' ')}`];
    const condition = [...seen, ...notYet].join('; and ');
    for (const child of command.children) {
      const name = child.path.split(' ').at(-1) ?? '';
      lines.push(
        `complete -c snapnbd -f -n ${quoted(condition)} -a ${name} -d ${quoted(firstSentence(child.description))}`,
      );
    }
    for (const option of optionsOf(command)) {
      const value = !option.takesValue
        ? ''
        : option.choices.length > 0
          ? ` -x -a ${quoted(option.choices.join(' '))}`
          : isPath(option)
            ? ' -r -F'
            : ' -x';
      lines.push(
        `complete -c snapnbd -n ${quoted(condition === '' ? 'true' : condition)} -l ${option.long.slice(2)}${value} -d ${quoted(firstSentence(option.description))}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

function firstSentence(text: string): string {
  return (text.split(/[;(]/)[0] ?? '').trim().replaceAll(':', '\\:');
}

/** As shells quote. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
