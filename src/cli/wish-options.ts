import type { Command } from 'commander';
import { Option } from 'commander';
import type { ExpressedWishes } from '../app/settings.js';
import { UsageError } from '../util/errors.js';
import { parseDurationMs } from '../util/units.js';

/** The bounds of the service. [ebs: StartSnapshot] */
const DESCRIPTION_LENGTH_MAX = 255;
const TAGS_MAX = 50;
const TIMEOUT_MINUTES_MIN = 10;
const TIMEOUT_MINUTES_MAX = 4320;

const MINUTE_MS = 60_000;

/** The options that say what a snapshot that is started looks like. */
export interface WishOptions {
  readonly description?: string;
  readonly tag?: Readonly<Record<string, string>>;
  readonly encrypted?: true;
  readonly kmsKey?: string;
  readonly snapshotTimeout?: number;
}

/** Adds the options of every command that may start a snapshot. */
export function addWishOptions(command: Command): Command {
  return command
    .addOption(new Option('--description <TEXT>', 'of the snapshot').argParser(parseDescription))
    .addOption(new Option('--tag <KEY=VALUE>', 'of the snapshot; repeatable').argParser(parseTag))
    .option('--encrypted', 'encrypt what is made of a blank disk; a fork has the encryption of its parent')
    .option('--kms-key <ARN>', "with this key (default: the account's); means --encrypted")
    .addOption(
      new Option(
        '--snapshot-timeout <TIME>',
        'AWS cancels a pending snapshot after so long without a put, 10m to 3d (default: 2d)',
      ).argParser(parseTimeout),
    );
}

/** The wishes that the options stand for. */
export function wishesOf(options: WishOptions): ExpressedWishes {
  const { description, tag, encrypted, kmsKey, snapshotTimeout } = options;
  return {
    ...(description === undefined ? {} : { description }),
    ...(tag === undefined ? {} : { tags: tag }),
    ...(encrypted === undefined && kmsKey === undefined ? {} : { encryption: { kmsKeyArn: kmsKey ?? null } }),
    ...(snapshotTimeout === undefined ? {} : { timeoutMinutes: snapshotTimeout }),
  };
}

function parseDescription(text: string): string {
  if (text.length > DESCRIPTION_LENGTH_MAX) {
    throw new UsageError(
      `Cannot use a description of ${text.length} characters: AWS takes ${DESCRIPTION_LENGTH_MAX}.`,
    );
  }
  return text;
}

function parseTag(
  text: string,
  earlier: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> {
  const separator = text.indexOf('=');
  if (separator < 1) throw new UsageError(`Cannot use "${text}" as --tag: write KEY=VALUE.`);
  const tags = { ...earlier, [text.slice(0, separator)]: text.slice(separator + 1) };
  if (Object.keys(tags).length > TAGS_MAX) {
    throw new UsageError(`Cannot use more than ${TAGS_MAX} tags: AWS takes no more.`);
  }
  return tags;
}

function parseTimeout(text: string): number {
  const minutes = Math.floor(parseDurationMs(text) / MINUTE_MS);
  if (minutes < TIMEOUT_MINUTES_MIN || minutes > TIMEOUT_MINUTES_MAX) {
    throw new UsageError(`Cannot use "${text}" as --snapshot-timeout: AWS takes 10m to 3d.`);
  }
  return minutes;
}
