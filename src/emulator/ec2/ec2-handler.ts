import { randomUUID } from 'node:crypto';
import { messageOf } from '../../util/errors.js';
import { checkAuthorization } from '../authorization.js';
import { ApiError } from '../errors.js';
import { denialText, isDenied } from '../faults/denial.js';
import type { Exchange } from '../http/exchange.js';
import { ClientGoneError } from '../http/request-body.js';
import type { OperationContext } from '../operations/operation.js';
import type { AccountSettings } from './account-settings.js';
import { describeSnapshots } from './describe-snapshots.js';
import { Ec2ApiError } from './ec2-error.js';
import { Ec2Query, shown } from './query.js';
import { describeRegions } from './regions.js';
import { xmlOf, type XmlElements } from './xml.js';

/** A thousand ids and a few filters. */
const BODY_MAX_BYTES = 1024 * 1024;
const API_VERSION = '2016-11-15';

/** What one request is answered with. */
interface Ec2Request {
  readonly query: Ec2Query;
  readonly region: string;
}

/** The few operations of EC2 that have to do with snapshots, in its own protocol: forms in, XML out. */
export class Ec2Handler {
  readonly #context: Pick<OperationContext, 'snapshots' | 'clock' | 'settings' | 'logger'>;
  readonly #account: AccountSettings;
  readonly #counts = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #operations: Readonly<Record<string, (request: Ec2Request) => Promise<XmlElements>>>;

  constructor(
    context: Pick<OperationContext, 'snapshots' | 'clock' | 'settings' | 'logger'>,
    account: AccountSettings,
  ) {
    this.#context = context;
    this.#account = account;
    this.#operations = {
      DescribeSnapshots: ({ query }) => describeSnapshots(context.snapshots, query),
      DescribeRegions: ({ query }) => Promise.resolve(describeRegions(query)),
      GetEbsDefaultKmsKeyId: () => Promise.resolve({ kmsKeyId: 'alias/aws/ebs' }),
      GetEbsEncryptionByDefault: ({ region }) => Promise.resolve(this.#encryptionOf(region)),
      EnableEbsEncryptionByDefault: ({ region }) => this.#setEncryption(region, true),
      DisableEbsEncryptionByDefault: ({ region }) => this.#setEncryption(region, false),
    };
  }

  /** Requests by their operation, refused ones included. */
  counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  resetCounts(): void {
    this.#counts.clear();
  }

  /** Ends the waiting for latency. */
  stop(): void {
    this.#stop.abort(new ClientGoneError('the emulator was stopped'));
  }

  /** Handles one request to its end. */
  async handle(exchange: Exchange): Promise<void> {
    const requestId = randomUUID();
    try {
      const { action, elements } = await this.#answer(exchange);
      const name = `${action}Response`;
      const body = `<${name} xmlns="http://ec2.amazonaws.com/doc/${API_VERSION}/">${xmlOf({ requestId, ...elements })}</${name}>`;
      await send(exchange, 200, body);
    } catch (error) {
      if (error instanceof ClientGoneError) return;
      const { code, message, status } = this.#asEc2Error(error);
      const Errors = { Error: { Code: code, Message: message } };
      await send(exchange, status, xmlOf({ Response: { Errors, RequestID: requestId } })).catch(ignoreGone);
    }
  }

  async #answer(exchange: Exchange): Promise<{ action: string; elements: XmlElements }> {
    const { region } = checkAuthorization((name) => exchange.header(name), 'ec2');
    const text =
      exchange.method === 'GET' ? exchange.queryText : await exchange.body.readText(BODY_MAX_BYTES);
    const query = new Ec2Query(text);
    const { action } = query;
    if (action === undefined) throw new Ec2ApiError('MissingAction', 'The request has no parameter Action.');
    const operation = Object.hasOwn(this.#operations, action) ? this.#operations[action] : undefined;
    if (operation === undefined)
      throw new Ec2ApiError(
        'InvalidAction',
        `The action ${shown(action)} is not valid for this web service.`,
      );
    this.#counts.set(action, (this.#counts.get(action) ?? 0) + 1);
    const settings = this.#context.settings();
    const { latencyMs } = settings;
    if (latencyMs > 0) await this.#context.clock.sleep(latencyMs, this.#stop.signal);
    const permission = `ec2:${action}`;
    if (isDenied(permission, settings))
      throw new Ec2ApiError('UnauthorizedOperation', denialText(permission, ''), 403);
    if (query.flag('DryRun')) {
      throw new Ec2ApiError('DryRunOperation', 'Request would have succeeded, but DryRun flag is set.', 412);
    }
    return { action, elements: await operation({ query, region }) };
  }

  #encryptionOf(region: string): XmlElements {
    const isEnabled = this.#account.isEncryptedByDefault(region);
    return { ebsEncryptionByDefault: isEnabled, sseType: isEnabled ? 'sse-kms' : 'none' };
  }

  async #setEncryption(region: string, isEnabled: boolean): Promise<XmlElements> {
    await this.#account.setEncryptedByDefault(region, isEnabled);
    return { ebsEncryptionByDefault: this.#account.isEncryptedByDefault(region) };
  }

  #asEc2Error(error: unknown): Ec2ApiError {
    if (error instanceof Ec2ApiError) return error;
    // From what both services have in front of them.
    if (error instanceof ApiError) {
      const message = error.body.message ?? error.body.Message ?? error.type;
      return new Ec2ApiError(error.status === 403 ? 'AuthFailure' : error.type, message, error.status);
    }
    this.#context.logger.error('Cannot answer a request', { service: 'ec2', reason: messageOf(error) });
    return new Ec2ApiError('InternalError', 'An internal error has occurred.', 500);
  }
}

/** Where the requests of EC2 go; the EBS direct APIs have nothing there. */
export function isEc2Path(path: string): boolean {
  return path === '/' || path === '';
}

async function send(exchange: Exchange, status: number, xml: string): Promise<void> {
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${xml}`);
  await exchange.send({ status, headers: { 'Content-Type': 'text/xml;charset=UTF-8' }, pieces: [body] });
}

function ignoreGone(error: unknown): void {
  if (!(error instanceof ClientGoneError)) throw error;
}
