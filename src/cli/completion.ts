import { Argument, Command } from 'commander';
import { modelOf } from './command-model.js';
import { bashCompletion, fishCompletion, zshCompletion } from './completion-scripts.js';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** `snapnbd completion`: what a shell has to know to complete command lines. */
export function completionCommand(): Command {
  return new Command('completion')
    .description('print a script with which a shell completes commands, options and their values')
    .addArgument(new Argument('<SHELL>', 'which shell').choices(SHELLS))
    .addHelpText('after', EXAMPLES)
    .action((shell: (typeof SHELLS)[number], _options: object, command: Command) => {
      const program = command.parent ?? command;
      const write = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion }[shell];
      process.stdout.write(write(modelOf(program)));
    });
}

const EXAMPLES = `
Examples:
  snapnbd completion bash | sudo tee /etc/bash_completion.d/snapnbd
  snapnbd completion zsh > "\${fpath[1]}/_snapnbd"
  snapnbd completion fish > ~/.config/fish/completions/snapnbd.fish`;
