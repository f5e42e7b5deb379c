import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { commitCommand } from './commit.js';
import { completionCommand } from './completion.js';
import { copyCommand } from './copy.js';
import { doctorCommand } from './doctor.js';
import { downloadCommand } from './download.js';
import { emulatorCommand } from './emulator.js';
import { encryptionByDefaultCommand } from './encryption-by-default.js';
import { cpCommand } from './cp.js';
import { discardCommand, forksCommand } from './forks.js';
import { historyCommand } from './history.js';
import { infoCommand } from './info.js';
import { lsCommand } from './ls.js';
import { mapCommand } from './map.js';
import { profileCommand } from './profile.js';
import { mountCommand, umountCommand } from './mount.js';
import { serveCommand } from './serve.js';
import { uploadCommand } from './upload.js';

/**
 * The command line: one object per command. Building it loads commander and nothing else; what a command needs
 * is imported when that command runs, so that `snapnbd --version` answers at once.
 */
export function createProgram(): Command {
  const program = new Command('snapnbd')
    .description('EBS snapshots as disks: an NBD server over the EBS direct APIs')
    .version(readVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .addHelpText('after', '\nTo try it without AWS: scripts/demo in the repository, or docs/EMULATOR.md.')
    .addCommand(serveCommand())
    .addCommand(infoCommand())
    .addCommand(commitCommand())
    .addCommand(forksCommand())
    .addCommand(discardCommand())
    .addCommand(downloadCommand())
    .addCommand(uploadCommand())
    .addCommand(copyCommand())
    .addCommand(lsCommand())
    .addCommand(cpCommand())
    .addCommand(mountCommand())
    .addCommand(umountCommand())
    .addCommand(mapCommand())
    .addCommand(historyCommand())
    .addCommand(doctorCommand())
    .addCommand(encryptionByDefaultCommand())
    .addCommand(profileCommand())
    .addCommand(emulatorCommand())
    .addCommand(completionCommand());
  throwRatherThanExit(program);
  return program;
}

/** Commander's settings are not inherited by commands that were made on their own. */
function throwRatherThanExit(command: Command): void {
  command.exitOverride();
  command.configureOutput({ outputError: () => undefined });
  command.showSuggestionAfterError(true);
  for (const child of command.commands) throwRatherThanExit(child);
}

/** From the package itself, which lies two folders up both in src/cli and in dist/cli. */
function readVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}
