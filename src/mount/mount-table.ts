import { readFileSync } from 'node:fs';
import { systemCodeOf } from '../util/errors.js';

/** Something that is mounted. */
export interface Mounted {
  /** A device, or what else mounts come from. */
  readonly source: string;
  readonly place: string;
}

/** Everything that is mounted, in the order of time. */
export function everythingMounted(): readonly Mounted[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ').map(unescapeOctal))
    .map(([source = '', place = '']) => ({ source, place }));
}

/** True when something is mounted there. */
export function isMounted(place: string): boolean {
  return everythingMounted().some((mounted) => mounted.place === place);
}

/** What a loop device shows; undefined for what is none, or shows nothing. */
export function backingFileOf(device: string): string | undefined {
  const name = /^\/dev\/(loop\d+)$/.exec(device)?.[1];
  if (name === undefined) return undefined;
  try {
    return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').replace(/\n$/, '');
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    return undefined;
  }
}

/** Bytes above 127 stand there as they are, and in UTF-8. */
function unescapeOctal(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
