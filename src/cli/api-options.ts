import type { Command } from 'commander';
import { Option } from 'commander';
import type { ApiSettings } from '../app/settings.js';
import { UsageError } from '../util/errors.js';
import { parseDurationMs } from '../util/units.js';

/** Each call that is under way holds a connection and a block. */
const IN_FLIGHT_MAX = 1024;
const PRICE_NAMES = ['list', 'get', 'put'] as const;

/** The options that say which EBS is spoken to, as commander gives them. */
export interface ApiOptions {
  readonly region?: string;
  readonly profile?: string;
  readonly awsProfile?: string;
  readonly endpointUrl?: string;
  readonly ec2EndpointUrl?: string;
  readonly emulator?: string;
  readonly retryTimeout?: number;
  readonly maxInflight?: number;
  readonly getRate?: number;
  readonly maxCost?: number;
  readonly prices?: ApiSettings['prices'];
}

/** Adds the options of every command that calls the EBS direct APIs. */
export function addApiOptions(
  command: Command,
  profileHelp = 'profile in the shared AWS configuration (default: as the AWS CLI finds it)',
): Command {
  return command
    .option('--region <REGION>', 'AWS region (default: as the AWS CLI finds it)')
    .option('--profile <PROFILE>', profileHelp)
    .option(
      '--aws-profile <PROFILE>',
      'the same as --profile, for one that is called as what else --profile of serve takes',
    )
    .option(
      '--endpoint-url <URL>',
      'endpoint of the EBS direct APIs (default: AWS_ENDPOINT_URL_EBS, or the region)',
    )
    .addOption(
      new Option('--emulator <DIR>', 'use the embedded emulator on this folder instead of AWS').conflicts([
        'region',
        'endpointUrl',
      ]),
    )
    .addOption(
      new Option(
        '--retry-timeout <TIME>',
        'how long a call is retried before it fails (default: 20s)',
      ).argParser((text) => parsePositiveDurationMs('--retry-timeout', text)),
    )
    .addOption(
      new Option('--max-inflight <N>', 'block calls under way at once, at most (default: 64)').argParser(
        (text) => parsePositive('--max-inflight', text, { isWhole: true, max: IN_FLIGHT_MAX }),
      ),
    )
    .addOption(
      new Option(
        '--get-rate <N>',
        'GetSnapshotBlock a second, at most (default: what the account allows)',
      ).argParser((text) => parsePositive('--get-rate', text)),
    )
    .addOption(
      new Option(
        '--max-cost <USD>',
        'refuse calls beyond this cost since the start, by their published prices (default: no bound)',
      ).argParser((text) => parsePositive('--max-cost', text)),
    )
    .addOption(
      new Option(
        '--prices <PRICES>',
        'US dollars for 1000 calls (default: list=0.0006,get=0.003,put=0.006)',
      ).argParser(parsePrices),
    );
}

/** Adds the option of every command that asks EC2 as well. */
export function addEc2Option(command: Command): Command {
  return command.addOption(
    new Option(
      '--ec2-endpoint-url <URL>',
      'endpoint of EC2 (default: AWS_ENDPOINT_URL_EC2, that of --endpoint-url if it is not at AWS, or the region)',
    ).conflicts(['emulator']),
  );
}

/** The settings that the options stand for. */
export function apiSettingsOf(options: ApiOptions): ApiSettings {
  const profile = options.awsProfile ?? options.profile;
  if (profile !== undefined && options.emulator !== undefined) {
    throw new UsageError('Cannot use --emulator with a profile of AWS: it is instead of AWS.');
  }
  if (options.endpointUrl !== undefined) checkEndpointUrl('--endpoint-url', options.endpointUrl);
  if (options.ec2EndpointUrl !== undefined) checkEndpointUrl('--ec2-endpoint-url', options.ec2EndpointUrl);
  return {
    ...(options.region === undefined ? {} : { region: options.region }),
    ...(profile === undefined ? {} : { profile }),
    ...(options.endpointUrl === undefined ? {} : { endpointUrl: options.endpointUrl }),
    ...(options.ec2EndpointUrl === undefined ? {} : { ec2EndpointUrl: options.ec2EndpointUrl }),
    ...(options.emulator === undefined ? {} : { emulatorDir: options.emulator }),
    ...(options.retryTimeout === undefined ? {} : { retryTotalMs: options.retryTimeout }),
    ...(options.maxInflight === undefined ? {} : { inFlightMax: options.maxInflight }),
    ...(options.getRate === undefined ? {} : { getsPerSecond: options.getRate }),
    ...(options.maxCost === undefined ? {} : { costMaxUsd: options.maxCost }),
    ...(options.prices === undefined ? {} : { prices: options.prices }),
  };
}

function checkEndpointUrl(option: string, text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new UsageError(`Cannot use "${text}" as ${option}: write http://HOST:PORT or https://HOST.`);
  }
}

function parsePositiveDurationMs(option: string, text: string): number {
  const durationMs = parseDurationMs(text);
  if (durationMs <= 0) throw new UsageError(`Cannot use ${option} ${text}: it must be longer than nothing.`);
  return durationMs;
}

function parsePositive(
  option: string,
  text: string,
  { isWhole = false, max = 1e9 }: { readonly isWhole?: boolean; readonly max?: number } = {},
): number {
  const value = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (value > 0 && value <= max && (!isWhole || Number.isInteger(value))) return value;
  const range = max === 1e9 ? 'above 0' : `from 1 to ${max}`;
  throw new UsageError(`Cannot use ${option} ${text}: write a ${isWhole ? 'whole ' : ''}number ${range}.`);
}

function parsePrices(text: string): NonNullable<ApiSettings['prices']> {
  const prices: Partial<Record<(typeof PRICE_NAMES)[number], number>> = {};
  for (const part of text.split(',')) {
    const [, name, price] = /^(\w+)=(\d+(?:\.\d+)?)$/.exec(part.trim()) ?? [];
    const known = PRICE_NAMES.find((candidate) => candidate === name);
    if (known === undefined || price === undefined) {
      throw new UsageError(
        `Cannot use --prices ${text}: write dollars for 1000 calls, such as list=0.0006,get=0.003,put=0.006.`,
      );
    }
    prices[known] = Number(price);
  }
  return prices;
}
