import type { Command } from 'commander';
import { Option } from 'commander';
import { UsageError } from '../util/errors.js';

/** The options of the page, as commander gives them. */
export interface HttpCliOptions {
  readonly http?: string;
  readonly httpToken?: string;
  readonly httpTokenFile?: string;
}

/** Adds the options to a command that serves. */
export function addHttpOptions(command: Command): Command {
  return command
    .option('--http <ADDRESS>', 'show a page, metrics and files at HOST:PORT, such as 127.0.0.1:9809')
    .option('--http-token-file <FILE>', 'what its clients have to know; needed beyond loopback')
    .addOption(
      new Option('--http-token <TOKEN>', 'the same, for all to see in the list of processes').conflicts(
        'httpTokenFile',
      ),
    );
}

/** What was asked for; undefined where nothing was. @throws {UsageError} for a token without a page. */
export function httpChoiceOf({
  http,
  httpToken,
  httpTokenFile,
}: HttpCliOptions):
  | { readonly address: string; readonly token: string | undefined; readonly tokenFile: string | undefined }
  | undefined {
  if (http !== undefined) return { address: http, token: httpToken, tokenFile: httpTokenFile };
  if (httpToken !== undefined || httpTokenFile !== undefined) {
    throw new UsageError('Cannot use a token without a page: say where to show it with --http HOST:PORT.');
  }
  return undefined;
}
