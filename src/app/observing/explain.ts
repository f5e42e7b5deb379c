import type { CallFigures, WaitingCalls } from '../../ebs/call-figures.js';
import { formatUsd } from '../../ebs/cost.js';
import { FindingLevel, type ExportFigures, type Finding } from '../../http/status-document.js';
import { formatBytes } from '../../util/units.js';
import { ForkPhase } from '../../writer/fork-status.js';

/** A request that has waited so long is worth a word, and one that has waited so long is stuck. */
const WAITING_SECONDS = 1;
const STUCK_SECONDS = 10;
/** A failure is spoken of for so long. */
const FAILURE_SECONDS = 30;
const REASON_LENGTH_MAX = 240;

/** What an explanation is made of. */
export interface Circumstances {
  readonly figures: Omit<ExportFigures, 'finding' | 'map'>;
  /** The snapshot beneath, if there is one. */
  readonly snapshotId: string | undefined;
  /** Absent where nothing comes from a service. */
  readonly calls: CallFigures | undefined;
  readonly waitingForPlace: number;
  readonly inFlightMax: number;
  /** Dollars, when the bound on them was reached. */
  readonly costBoundUsd: number | undefined;
  readonly diskPause: string | undefined;
  readonly nowMs: number;
}

/** Says in one sentence whether an export is stuck, and on what. */
export function findingOf(circumstances: Circumstances): Finding {
  const { figures, costBoundUsd } = circumstances;
  const { oldestWaiting, clients, waitingCount, fork, lastFailure, blocks } = figures;
  if (fork !== null && fork.failure !== null) {
    return { level: FindingLevel.Stuck, text: `Takes nothing more: ${sentence(fork.failure)}` };
  }
  if (oldestWaiting !== null && oldestWaiting.ageSeconds >= WAITING_SECONDS) {
    const { command, lengthBytes, offset, ageSeconds } = oldestWaiting;
    const isStuck = ageSeconds >= STUCK_SECONDS;
    const range = lengthBytes === 0 ? '' : ` of ${formatBytes(lengthBytes)} at ${formatBytes(offset)}`;
    return {
      level: isStuck ? FindingLevel.Stuck : FindingLevel.Waiting,
      text: `${isStuck ? 'Stuck' : 'Waiting'} for ${seconds(ageSeconds)}: a ${command}${range} waits for ${causeOf(circumstances)}.`,
    };
  }
  if (costBoundUsd !== undefined && figures.kind !== 'device') {
    const text = `Serves only what is cached: calls are refused, since those before cost the ${formatUsd(costBoundUsd)} of --max-cost.`;
    return { level: FindingLevel.Stuck, text };
  }
  if (lastFailure !== null && lastFailure.ageSeconds < FAILURE_SECONDS) {
    const { command, reason, ageSeconds } = lastFailure;
    return {
      level: FindingLevel.Waiting,
      text: `A ${command} failed ${seconds(ageSeconds)} ago: ${sentence(reason)}`,
    };
  }
  if (fork !== null && fork.commit !== null) return commitFinding(fork.commit, circumstances);
  // One that goes on has its progress.
  if (fork !== null && fork.state === ForkPhase.Committing) {
    const pending = fork.pendingSnapshotId === null ? '' : ` of ${fork.pendingSnapshotId}`;
    const text = `The commit${pending} broke off, and nothing is lost: it goes on where it was with "snapnbd commit ${figures.name}".`;
    return { level: FindingLevel.Waiting, text };
  }
  if (clients === 0) {
    const isFetching = blocks !== null && blocks.fetching > 0;
    const background = isFetching ? `; ${blocks.fetching} blocks are being fetched in the background` : '';
    return { level: FindingLevel.Idle, text: `Idle: no client${background}.` };
  }
  const who = clients === 1 ? 'a client' : `${clients} clients`;
  const waiting =
    waitingCount === 0
      ? 'nothing waits'
      : `${waitingCount === 1 ? 'a request is' : `${waitingCount} requests are`} under way, none for long`;
  return { level: FindingLevel.Ok, text: `Serving ${who}: ${waiting}.` };
}

function commitFinding(
  {
    step,
    putBlocks,
    dueBlocks,
  }: { readonly step: string; readonly putBlocks: number; readonly dueBlocks: number },
  circumstances: Circumstances,
): Finding {
  const trouble = troubleOf(circumstances);
  const progress =
    step === 'put'
      ? `${putBlocks} of about ${dueBlocks} blocks are put`
      : step === 'complete'
        ? 'the service completes the snapshot'
        : 'the snapshot is not readable yet';
  if (trouble === undefined) return { level: FindingLevel.Ok, text: `Committing: ${progress}.` };
  return { level: FindingLevel.Waiting, text: `Committing: ${progress}, and waits for ${trouble}.` };
}

/** What a request waits for: the first cause that explains it. */
function causeOf(circumstances: Circumstances): string {
  const { figures, calls, snapshotId, waitingForPlace, inFlightMax, diskPause, nowMs } = circumstances;
  const command = figures.oldestWaiting?.command;
  const isLocal =
    command === 'WRITE' || command === 'FLUSH' || command === 'TRIM' || command === 'WRITE_ZEROES';
  const trouble = figures.kind === 'device' ? undefined : troubleOf(circumstances);
  if (trouble !== undefined) return trouble;
  if (figures.kind === 'device') return 'the device';
  if (isLocal && (calls === undefined || calls.underWay.size === 0)) return 'the disk of the state folder';
  for (const call of calls?.underWay ?? []) {
    if (call.snapshotId !== snapshotId && call.snapshotId !== undefined) continue;
    const block = call.blockIndex === undefined ? '' : ` of block ${call.blockIndex}`;
    return `the answer to ${call.operation}${block}, under way for ${seconds((nowMs - call.startMs) / 1000)}`;
  }
  if (waitingForPlace > 0) return `a place: ${inFlightMax} calls are in flight, and ${waitingForPlace} wait`;
  if (diskPause !== undefined) return `the device; ${diskPause}`;
  return 'the device';
}

/** What is wrong with the service, or with the way there. */
function troubleOf({ calls, costBoundUsd, nowMs }: Circumstances): string | undefined {
  if (costBoundUsd !== undefined)
    return `calls that are refused: they cost the ${formatUsd(costBoundUsd)} of --max-cost`;
  if (calls === undefined) return undefined;
  if (calls.failing.count > 0) return `a call that is tried again (${waitText(calls.failing, nowMs)})`;
  if (calls.throttled.count > 0) return `the service, which throttles (${waitText(calls.throttled, nowMs)})`;
  return undefined;
}

function waitText({ count, retries, sinceMs, lastError }: WaitingCalls, nowMs: number): string {
  const error = lastError === undefined ? '' : `, ${lastError.kind}: ${shortened(lastError.message)}`;
  const waiting = count === 1 ? '1 call waits' : `${count} calls wait`;
  return `${waiting}, ${retries === 1 ? '1 retry' : `${retries} retries`} in ${seconds((nowMs - sinceMs) / 1000)}${error}`;
}

function shortened(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > REASON_LENGTH_MAX ? `${line.slice(0, REASON_LENGTH_MAX)}…` : line.replace(/\.$/, '');
}

function sentence(text: string): string {
  return `${shortened(text)}.`;
}

function seconds(duration: number): string {
  return duration < 10 ? `${duration.toFixed(1)} s` : `${Math.round(duration)} s`;
}
