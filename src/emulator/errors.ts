// Errors as the service gives them. [ebs: Errors]

/** Every error type that the emulator answers with, and its HTTP status. */
const STATUS_BY_TYPE = {
  ValidationException: 400,
  SerializationException: 400,
  ThrottlingException: 400,
  RequestThrottledException: 400,
  ConcurrentLimitExceededException: 400,
  AccessDeniedException: 403,
  MissingAuthenticationTokenException: 403,
  IncompleteSignatureException: 403,
  InvalidSignatureException: 403,
  ResourceNotFoundException: 404,
  UnknownOperationException: 404,
  ConflictException: 409,
  RequestEntityTooLargeException: 413,
  InternalServerException: 500,
  ServiceUnavailableException: 503,
} as const;

export type ErrorType = keyof typeof STATUS_BY_TYPE;

/** The reasons that go with some of the types. */
export const Reason = {
  InvalidPageToken: 'INVALID_PAGE_TOKEN',
  InvalidBlockToken: 'INVALID_BLOCK_TOKEN',
  InvalidSnapshotId: 'INVALID_SNAPSHOT_ID',
  UnrelatedSnapshots: 'UNRELATED_SNAPSHOTS',
  InvalidBlock: 'INVALID_BLOCK',
  InvalidContentEncoding: 'INVALID_CONTENT_ENCODING',
  InvalidTag: 'INVALID_TAG',
  InvalidParameterValue: 'INVALID_PARAMETER_VALUE',
  InvalidVolumeSize: 'INVALID_VOLUME_SIZE',
  InvalidCustomerKey: 'INVALID_CUSTOMER_KEY',
  SnapshotNotFound: 'SNAPSHOT_NOT_FOUND',
  AccountThrottled: 'ACCOUNT_THROTTLED',
  ResourceLevelThrottle: 'RESOURCE_LEVEL_THROTTLE',
} as const;
export type Reason = (typeof Reason)[keyof typeof Reason];

/** An answer that is an error. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly type: ErrorType;
  readonly status: number;
  readonly body: Readonly<Record<string, string>>;

  constructor(type: ErrorType, body: Readonly<Record<string, string>>) {
    super(`${type}: ${JSON.stringify(body)}`);
    this.type = type;
    this.status = STATUS_BY_TYPE[type];
    this.body = body;
  }

  /** x-amzn-ErrorType: the type, and a URI that nobody reads. */
  get typeHeader(): string {
    return `${this.type}:http://internal.amazon.com/coral/com.amazonaws.ebs/`;
  }
}

/** An error of the service itself: `{"Message", "Reason"}`. */
export function serviceError(type: ErrorType, message: string, reason?: Reason): ApiError {
  return new ApiError(
    type,
    reason === undefined ? { Message: message } : { Message: message, Reason: reason },
  );
}

/** An error from in front of the service: `{"message"}`, and no reason. */
export function frameworkError(type: ErrorType, message: string): ApiError {
  return new ApiError(type, { message });
}

/** 400 ValidationException with its reason. */
export function invalid(reason: Reason, message: string): ApiError {
  return serviceError('ValidationException', message, reason);
}

/** 404: pending, errored, not yet readable and unknown snapshots all look like this. */
export function snapshotNotFound(snapshotId: string): ApiError {
  return serviceError(
    'ResourceNotFoundException',
    `The snapshot '${snapshotId}' does not exist.`,
    Reason.SnapshotNotFound,
  );
}
