// A server for devices of one's own.
export { ExportRegistry, type RegisteredExport } from './app/export-registry.js';
export type {
  BlockDevice,
  BlockSizes,
  Extent,
  ExtentOptions,
  ExtentSource,
  ReadChunk,
  ReadResult,
  ReadOptions,
  RequestOptions,
  WriteOptions,
  ZeroOptions,
  ZeroRun,
} from './device/block-device.js';
export type { Lease } from './util/lease.js';
export { AllocationFlag, ReadIntoResult } from './device/block-device.js';
export { DeviceErrno, DeviceError } from './device/device-error.js';
export { MemoryDevice } from './device/memory-device.js';
export {
  ExportRefusalKind,
  ExportRefusedError,
  type ExportLease,
  type ExportListing,
  type ExportTable,
} from './nbd/export-table.js';
export { DEFAULT_NBD_LIMITS, type NbdLimits } from './nbd/limits.js';
export {
  formatNbdUri,
  parseListenAddress,
  type BoundAddress,
  type ListenAddress,
} from './nbd/listen/listen-address.js';
export { NbdServer, type ListenOptions, type NbdServerOptions } from './nbd/server.js';
export type { TlsSetup } from './nbd/tls/server-tls.js';
export { TlsCredentials, type TlsFiles } from './nbd/tls/tls-credentials.js';

// The server that `snapnbd serve` runs, out of a program.
export { startServer, type RunningServer, type ServerSurroundings } from './app/server-start.js';
export { parseExportSpec, type ExportSource, type ExportSpec } from './app/export-spec.js';
export type {
  ApiSettings,
  Durability,
  ExpressedWishes,
  ForkSettings,
  ListenSettings,
  ServeSettings,
  TlsSettings,
} from './app/settings.js';

// What `snapnbd commit`, `forks` and `discard` do.
export {
  commitFork,
  discardFork,
  listForks,
  type CommitProgress,
  type CommitResult,
  type CommitTask,
  type ForkStatus,
} from './app/committing.js';

// A snapshot as a device, and the way to EBS that it is read through.
export { connectApi, type ApiConnection, type ConnectionContext } from './app/api-connection.js';
export { BlockCache } from './snapshot/block-cache.js';
export {
  openSnapshotDevice,
  type SnapshotDevice,
  type SnapshotDeviceOptions,
} from './snapshot/snapshot-device.js';
export { DiskCache, type DiskCacheOptions, type DiskStore } from './snapshot/disk/disk-cache.js';
export type { ApiPrices, ApiUsage } from './ebs/cost.js';

// What several of them share, what has changed between them, and what was read first the last time.
export { Lineage, type LineageOptions } from './snapshot/lineage/lineage.js';
export {
  compareSnapshot,
  type ComparedSnapshot,
  type ComparisonOptions,
} from './snapshot/changed/compared-snapshot.js';
export { ProfileMode, Profiles, type ProfilesOptions } from './snapshot/profile/profiles.js';
export { ProfileStore } from './snapshot/profile/profile-store.js';

// What these say about time, logs and errors.
export { EbsError, EbsErrorKind, EbsOperation } from './ebs/errors.js';
export { systemClock, type Clock, type Timer } from './util/clock.js';
export { EnvironmentError, SnapnbdError, UsageError } from './util/errors.js';
export { silentLogger, type LogFields, type Logger } from './util/logger.js';
