/** What one check found. */
export interface Finding {
  /** What was looked at: `credentials`. */
  readonly check: string;
  /** `warn`: missing for some uses; `fail`: nothing works without; `skip`: could not be looked at. */
  readonly status: 'ok' | 'warn' | 'fail' | 'skip';
  /** What was found. */
  readonly detail: string;
  /** The command or the change that mends it; null where nothing is to be mended. */
  readonly remedy: string | null;
}

export function ok(check: string, detail: string): Finding {
  return { check, status: 'ok', detail, remedy: null };
}

export function warn(check: string, detail: string, remedy: string): Finding {
  return { check, status: 'warn', detail, remedy };
}

export function fail(check: string, detail: string, remedy: string): Finding {
  return { check, status: 'fail', detail, remedy };
}

/** @param detail why it could not be looked at. */
export function skip(check: string, detail: string): Finding {
  return { check, status: 'skip', detail, remedy: null };
}
