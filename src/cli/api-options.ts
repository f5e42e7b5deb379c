import type { Command } from 'commander';
import { Option } from 'commander';
import type { ApiSettings } from '../app/settings.js';
import { UsageError } from '../util/errors.js';
import { parseDurationMs } from '../util/units.js';

/** The options that say which EBS is spoken to, as commander gives them. */
export interface ApiOptions {
  readonly region?: string;
  readonly profile?: string;
  readonly endpointUrl?: string;
  readonly emulator?: string;
  readonly retryTimeout?: number;
}

/** Adds the options of every command that calls the EBS direct APIs. */
export function addApiOptions(command: Command): Command {
  return command
    .option('--region <REGION>', 'AWS region (default: as the AWS CLI finds it)')
    .option(
      '--profile <PROFILE>',
      'profile in the shared AWS configuration (default: as the AWS CLI finds it)',
    )
    .option(
      '--endpoint-url <URL>',
      'endpoint of the EBS direct APIs (default: AWS_ENDPOINT_URL_EBS, or the region)',
    )
    .addOption(
      new Option('--emulator <DIR>', 'use the embedded emulator on this folder instead of AWS').conflicts([
        'region',
        'profile',
        'endpointUrl',
      ]),
    )
    .addOption(
      new Option(
        '--retry-timeout <TIME>',
        'how long a call is retried before it fails (default: 20s)',
      ).argParser((text) => parsePositiveDurationMs('--retry-timeout', text)),
    );
}

/** The settings that the options stand for. */
export function apiSettingsOf(options: ApiOptions): ApiSettings {
  if (options.endpointUrl !== undefined) checkEndpointUrl(options.endpointUrl);
  return {
    ...(options.region === undefined ? {} : { region: options.region }),
    ...(options.profile === undefined ? {} : { profile: options.profile }),
    ...(options.endpointUrl === undefined ? {} : { endpointUrl: options.endpointUrl }),
    ...(options.emulator === undefined ? {} : { emulatorDir: options.emulator }),
    ...(options.retryTimeout === undefined ? {} : { retryTotalMs: options.retryTimeout }),
  };
}

function checkEndpointUrl(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new UsageError(`Cannot use "${text}" as --endpoint-url: write http://HOST:PORT or https://HOST.`);
  }
}

function parsePositiveDurationMs(option: string, text: string): number {
  const durationMs = parseDurationMs(text);
  if (durationMs <= 0) throw new UsageError(`Cannot use ${option} ${text}: it must be longer than nothing.`);
  return durationMs;
}
