import { readFileSync } from 'node:fs';
import { openHttpService, type HttpService } from '../../http/http-service.js';
import type { Clock } from '../../util/clock.js';
import type { Logger } from '../../util/logger.js';
import { ExportBrowser } from './export-browser.js';
import type { HttpSettings } from './http-settings.js';
import { ServerObserver } from './server-observer.js';

/** What a page is made with. */
export interface PageParts {
  readonly logger: Logger;
  readonly clock: Clock;
  /** Whether files are shown to clients that need no token: not where the disks themselves need more to be read. */
  readonly isOpenToMachine: boolean;
}

/** The page of a server, and what it shows. */
export interface Page {
  readonly service: HttpService;
  readonly observer: ServerObserver;
  /** Absent where files are not shown. */
  readonly files: ExportBrowser | undefined;
  /** Tells clients how far the server is. */
  setState(state: ServerObserver['state']): void;
}

/**
 * Shows the page, which says that the server is starting until it is told more.
 *
 * @throws {EnvironmentError} when the address cannot be had.
 */
export async function openPage(
  settings: HttpSettings,
  { logger, clock, isOpenToMachine }: PageParts,
): Promise<Page> {
  const files = settings.token !== undefined || isOpenToMachine ? new ExportBrowser() : undefined;
  const observer = new ServerObserver(clock, packageVersion());
  observer.hasFiles = files !== undefined;
  const service = await openHttpService({ ...settings, figures: observer, files, logger });
  logger.info('the page is shown', { url: service.url });
  const setState = (state: ServerObserver['state']): void => void (observer.state = state);
  return { service, observer, files, setState };
}

/** From the package itself, which lies three folders up both in src/app/observing and in dist/app/observing. */
function packageVersion(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
