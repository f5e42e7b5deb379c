/** What the commands that show and copy files of a snapshot need, for `src/cli`. */
export { createLogWriter } from '../log-writer.js';
export { copyFiles, type CopyProgress } from './copying.js';
export { listFiles } from './listing.js';
export { jsonLine, longLine } from './long-listing.js';
export { shownName } from './shown-name.js';
export { openSnapshotVolume, parseSnapshotPath } from './snapshot-volume.js';
export { watchStopSignals } from '../stop-signals.js';
