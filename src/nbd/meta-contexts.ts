import type { BlockDevice, ExtentSource } from '../device/block-device.js';

/** What is allocated, and what reads as zeros. [nbd: base:allocation metadata context] */
export const BASE_ALLOCATION = 'base:allocation';

/** The contexts of a device by name, `base:allocation` first. */
export function metaContextsOf(device: BlockDevice): ReadonlyMap<string, ExtentSource> {
  const contexts = new Map<string, ExtentSource>();
  if (device.extents !== undefined) contexts.set(BASE_ALLOCATION, device as ExtentSource);
  for (const [name, source] of device.metaContexts ?? []) contexts.set(name, source);
  return contexts;
}

/**
 * The names that LIST_META_CONTEXT answers with: all of them without a query, else those that a query names, or begins
 * with where it ends in a colon (`base:`, `qemu:dirty-bitmap:`). What nobody knows is passed over.
 * [nbd: NBD_OPT_LIST_META_CONTEXT]
 */
export function listMetaContexts(device: BlockDevice, queries: readonly string[]): string[] {
  const names = [...metaContextsOf(device).keys()];
  if (queries.length === 0) return names;
  return names.filter((name) =>
    queries.some((query) => name === query || (query.endsWith(':') && name.startsWith(query))),
  );
}

/**
 * The names that SET_META_CONTEXT selects: exactly those that a query names. A namespace alone selects nothing, and no
 * query selects none. [nbd: NBD_OPT_SET_META_CONTEXT; nbd-rule 17]
 */
export function selectMetaContexts(device: BlockDevice, queries: readonly string[]): string[] {
  const wanted = new Set(queries);
  return [...metaContextsOf(device).keys()].filter((name) => wanted.has(name));
}
