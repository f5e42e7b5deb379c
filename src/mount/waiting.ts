const POLL_MS = 10;

/**
 * Waits for what this machine tells nobody about.
 *
 * @param limitMs how long at most.
 * @returns false when it has not come.
 */
export async function becomesTrue(check: () => boolean, limitMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + limitMs;
  while (!check()) {
    if (performance.now() > deadlineMs) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return true;
}
