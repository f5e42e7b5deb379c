import { KIB } from '../../util/units.js';
import { BufferPool } from '../buffer-pool.js';

/** 256 KiB: some sixty replies of 4 KiB, which is what one batch of a busy client makes. */
export const SLAB_BYTES = 256 * KIB;
/** 16 slabs (4 MiB) are kept for later. */
const KEPT_MAX = 16;

/**
 * Buffers in which replies are put together, shared by all connections: a connection has one only while it has something
 * to send.
 */
export class SlabPool extends BufferPool {
  constructor() {
    super(SLAB_BYTES, KEPT_MAX);
  }
}
