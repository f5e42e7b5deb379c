import type { FileStat } from '../../files/filesystem.js';
import { formatBytes, GIB } from '../../util/units.js';
import { isoTime } from '../files/long-listing.js';
import type { FileEntry, HistoryEntry } from './history-entry.js';

/** What stands where there is nothing to say. */
const NOTHING = '-';

/** A history as the rows of a table, the heading first. @param hasFile whether a file was looked for. */
export function historyTable(entries: readonly HistoryEntry[], hasFile: boolean): readonly string[][] {
  const heading = ['STARTED', 'SNAPSHOT', 'SIZE', 'CHANGED'];
  const fileHeading = hasFile ? ['VERSION', 'FILE SIZE', 'MODIFIED'] : [];
  const rows = entries.map((entry, index) => {
    const { snapshot, changedBytes, file } = entry;
    return [
      new Date(snapshot.startTimeMs).toISOString().replace(/\.\d+Z$/, 'Z'),
      snapshot.snapshotId,
      formatBytes(snapshot.volumeSizeGib * GIB),
      changedBytes === undefined ? NOTHING : formatBytes(changedBytes),
      ...(hasFile ? fileCells(file) : []),
      notesOf(entry, entries[index + 1]).join('; '),
    ];
  });
  return [[...heading, ...fileHeading, 'NOTE'], ...rows];
}

/** An entry as one line of JSON. */
export function historyJson({ snapshot, since, changedBytes, problem, file }: HistoryEntry): string {
  return JSON.stringify({
    snapshotId: snapshot.snapshotId,
    volumeId: snapshot.volumeId ?? null,
    startTime: new Date(snapshot.startTimeMs).toISOString(),
    state: snapshot.state,
    storageTier: snapshot.storageTier,
    description: snapshot.description,
    volumeSizeBytes: snapshot.volumeSizeGib * GIB,
    sinceSnapshotId: since ?? null,
    changedBytes: changedBytes ?? null,
    error: problem ?? null,
    ...(file === undefined ? {} : { file: fileObject(file) }),
  });
}

function fileCells(file: FileEntry | undefined): string[] {
  if (file === undefined) return [NOTHING, NOTHING, NOTHING];
  const { found, version } = file;
  if (found.state === 'present') {
    const modified = isoTime(found.stat.modifyTime).replace(/\.\d+Z$/, 'Z');
    return [String(version), formatBytes(found.stat.sizeBytes), modified];
  }
  return [found.state === 'absent' ? 'absent' : 'unknown', NOTHING, NOTHING];
}

function fileObject({ found, version, wasRead }: FileEntry): object {
  return {
    state: found.state,
    version: version ?? null,
    wasRead,
    ...(found.state === 'present' ? statObject(found.stat) : {}),
    ...(found.state === 'unknown' ? { error: found.reason } : {}),
  };
}

function statObject({ inodeNumber, kind, sizeBytes, modifyTime, changeTime }: FileStat): object {
  const times = { modifyTime: isoTime(modifyTime), changeTime: isoTime(changeTime) };
  return { inode: inodeNumber, kind, sizeBytes, ...times };
}

function notesOf(entry: HistoryEntry, next: HistoryEntry | undefined): readonly string[] {
  const { snapshot, since, problem, file } = entry;
  const notes: string[] = [];
  if (snapshot.state !== 'completed') notes.push(snapshot.state);
  if (snapshot.storageTier === 'archive') notes.push('in the archive tier');
  if (next !== undefined && since !== undefined && since !== next.snapshot.snapshotId)
    notes.push(`since ${since}`);
  if (problem !== undefined) notes.push(problem);
  if (file?.found.state === 'unknown') notes.push(file.found.reason);
  return notes;
}
