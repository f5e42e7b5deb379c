import { UsageError, messageOf } from '../util/errors.js';
import { ApiError } from './errors.js';
import { describeFaultSettings, type FaultSettings } from './faults/settings.js';
import type { Exchange } from './http/exchange.js';
import { ClientGoneError, type RequestBody } from './http/request-body.js';
import { jsonAnswer } from './operations/operation.js';
import type { EmulatorStats } from './stats.js';

const PREFIX = '/_emulator/';
const FAULTS_MAX_BYTES = 64 * 1024;

/** What can be asked of a running emulator beside the API; needs no authorization. */
export interface Control {
  stats(): EmulatorStats;
  resetStats(): void;
  faults(): FaultSettings;
  /** @throws {UsageError} when a setting is unknown or out of its range. */
  setFaults(input: unknown): FaultSettings;
}

/** True for paths that are the emulator's own. */
export function isControlPath(path: string): boolean {
  return path.startsWith(PREFIX);
}

/** Answers the emulator's own paths; docs/EMULATOR.md has their shapes. */
export async function handleControl(control: Control, exchange: Exchange): Promise<void> {
  try {
    const { status, value } = await answerControl(control, exchange);
    await exchange.send(jsonAnswer(status, `${JSON.stringify(value, null, 2)}\n`));
  } catch (error) {
    if (!(error instanceof ClientGoneError)) throw error;
  }
}

interface ControlAnswer {
  readonly status: number;
  readonly value: unknown;
}

async function answerControl(control: Control, exchange: Exchange): Promise<ControlAnswer> {
  switch (`${exchange.method} ${exchange.path.slice(PREFIX.length)}`) {
    case 'GET stats':
      return { status: 200, value: control.stats() };
    case 'POST stats/reset':
      control.resetStats();
      return { status: 200, value: control.stats() };
    case 'GET faults':
      return { status: 200, value: describeFaultSettings(control.faults()) };
    case 'POST faults':
      return changeFaults(control, exchange.body);
    default:
      return {
        status: 404,
        value: { message: 'There are GET stats, POST stats/reset, GET faults and POST faults.' },
      };
  }
}

async function changeFaults(control: Control, body: RequestBody): Promise<ControlAnswer> {
  try {
    const input: unknown = JSON.parse(await body.readText(FAULTS_MAX_BYTES));
    return { status: 200, value: describeFaultSettings(control.setFaults(input)) };
  } catch (error) {
    if (error instanceof ClientGoneError) throw error;
    if (error instanceof UsageError || error instanceof SyntaxError || error instanceof ApiError)
      return { status: 400, value: { message: messageOf(error) } };
    throw error;
  }
}
