/** An answer that is an error, as EC2 gives them. [ec2: Error codes] */
export class Ec2ApiError extends Error {
  override readonly name = 'Ec2ApiError';
  /** Such as `InvalidSnapshot.NotFound`. */
  readonly code: string;
  /** HTTP. */
  readonly status: number;

  constructor(code: string, message: string, status = 400) {
    super(message);
    this.code = code;
    this.status = status;
  }
}
