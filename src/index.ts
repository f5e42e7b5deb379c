export type {
  BlockDevice,
  BlockSizes,
  Extent,
  ExtentOptions,
  ExtentSource,
  ReadChunk,
  ReadResult,
  RequestOptions,
  WriteOptions,
  ZeroOptions,
  ZeroRun,
} from './device/block-device.js';
export { AllocationFlag } from './device/block-device.js';
export { DeviceErrno, DeviceError } from './device/device-error.js';
