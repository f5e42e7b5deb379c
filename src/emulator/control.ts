import type { IncomingMessage, ServerResponse } from 'node:http';
import { UsageError, messageOf } from '../util/errors.js';
import { ApiError } from './errors.js';
import { describeFaultSettings, type FaultSettings } from './faults/settings.js';
import { ClientGoneError, RequestBody } from './http/request-body.js';
import { sendAnswer } from './http/send-answer.js';
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
export function isControlPath(url: string): boolean {
  return url.startsWith(PREFIX);
}

/** Answers the emulator's own paths; docs/EMULATOR.md has their shapes. */
export async function handleControl(
  control: Control,
  message: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = new RequestBody(message);
  try {
    const { status, value } = await answerControl(control, message, body);
    await sendAnswer(response, jsonAnswer(status, `${JSON.stringify(value, null, 2)}\n`));
  } catch (error) {
    if (!(error instanceof ClientGoneError)) throw error;
  }
}

interface ControlAnswer {
  readonly status: number;
  readonly value: unknown;
}

async function answerControl(
  control: Control,
  message: IncomingMessage,
  body: RequestBody,
): Promise<ControlAnswer> {
  const path = (message.url ?? '').slice(PREFIX.length).split('?')[0];
  switch (`${message.method} ${path}`) {
    case 'GET stats':
      return { status: 200, value: control.stats() };
    case 'POST stats/reset':
      control.resetStats();
      return { status: 200, value: control.stats() };
    case 'GET faults':
      return { status: 200, value: describeFaultSettings(control.faults()) };
    case 'POST faults':
      return changeFaults(control, body);
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
