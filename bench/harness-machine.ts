import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { GIB } from '../src/util/units.js';

/** The machine and the versions that figures were measured on, as lines of text. */
export function describeMachine(): readonly string[] {
  const model = cpus()[0]?.model ?? 'unknown';
  const flags = /^flags\s*:(.*)$/m.exec(readText('/proc/cpuinfo'))?.[1] ?? '';
  const hashes = / sha_ni\b/.test(flags) ? 'SHA-256 in hardware' : 'no SHA-256 in hardware';
  return [
    `${availableParallelism()} cores of ${model} (${hashes}), ${(totalmem() / GIB).toFixed(1)} GiB of memory`,
    `Linux ${release()}, Node.js ${process.versions.node} (OpenSSL ${process.versions.openssl})`,
  ];
}

/**
 * The first line that a program prints about its version.
 *
 * @returns undefined when there is no such program.
 */
export function versionOf(program: string, args: readonly string[] = ['--version']): string | undefined {
  try {
    const text = execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    return text.trim().split('\n')[0];
  } catch {
    // A rival that is not there is left out of the table, which says so.
    return undefined;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Not Linux: what would be read there is left out.
    return '';
  }
}
