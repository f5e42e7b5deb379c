/** Thrown when something that must hold does not: always a defect of this program, never of its input. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/**
 * States an invariant. Input from users, peers and services is validated elsewhere, with errors of its own;
 * a failure here means that the program is wrong and must not go on. The message is made up at each call: where there are
 * many, it is better a plain text, since writing numbers out takes longer than most checks.
 *
 * @throws {AssertionError} when `condition` is false.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a branch that the types rule out. @throws {AssertionError} always. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
