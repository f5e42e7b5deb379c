import { fileURLToPath } from 'node:url';

/** The program's own main file, for those who start it once more: compiled or not, as this file is. */
export function mainPath(): string {
  return fileURLToPath(new URL(`./main${import.meta.url.slice(-3)}`, import.meta.url));
}
