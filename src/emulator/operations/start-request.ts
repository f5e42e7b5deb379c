import { Constraints } from '../constraints.js';
import { Reason, frameworkError, invalid } from '../errors.js';

/** What StartSnapshot asks for; null stands for what was left out. */
export interface StartRequest {
  readonly volumeSizeGib: number;
  readonly parentSnapshotId: string | null;
  readonly description: string | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly clientToken: string | null;
  readonly encrypted: boolean | null;
  readonly kmsKeyArn: string | null;
  readonly timeoutMinutes: number;
}

const DEFAULT_TIMEOUT_MINUTES = 60;
const KMS_KEY_ARN = /^arn:aws[a-z-]*:kms:.*:[0-9]{12}:key\/.*$/;
const TAGS_MAX = 50;

/**
 * Reads the body of StartSnapshot. [ebs: StartSnapshot]
 *
 * @throws {ApiError} SerializationException when it is not JSON of the right types, ValidationException when a
 *   field is out of its range.
 */
export function parseStartRequest(text: string): StartRequest {
  const body = parseObject(text);
  const volumeSize = field(body, 'VolumeSize', 'number');
  const timeout = field(body, 'Timeout', 'number');
  const texts = {
    parentSnapshotId: field(body, 'ParentSnapshotId', 'string'),
    description: field(body, 'Description', 'string'),
    clientToken: field(body, 'ClientToken', 'string'),
    kmsKeyArn: field(body, 'KmsKeyArn', 'string'),
  };
  const tags = parseTags(body.Tags);
  const constraints = new Constraints();
  constraints.required('volumeSize', volumeSize);
  constraints.integer('volumeSize', volumeSize, { min: 1 });
  constraints.integer('timeout', timeout, { min: 10, max: 4320 });
  constraints.snapshotId('parentSnapshotId', texts.parentSnapshotId);
  constraints.text('description', texts.description, { lengthMax: 255 });
  constraints.text('clientToken', texts.clientToken, { lengthMax: 255, pattern: /^[\S]+$/ });
  constraints.text('kmsKeyArn', texts.kmsKeyArn, { lengthMin: 1, lengthMax: 2048, pattern: KMS_KEY_ARN });
  checkTags(constraints, tags);
  constraints.verify();
  return {
    volumeSizeGib: volumeSize ?? 0,
    parentSnapshotId: texts.parentSnapshotId ?? null,
    description: texts.description ?? null,
    clientToken: texts.clientToken ?? null,
    kmsKeyArn: texts.kmsKeyArn ?? null,
    encrypted: field(body, 'Encrypted', 'boolean') ?? null,
    timeoutMinutes: timeout ?? DEFAULT_TIMEOUT_MINUTES,
    tags: distinctTags(tags),
  };
}

type Body = Readonly<Record<string, unknown>>;

function parseObject(text: string): Body {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw malformed('The body is not JSON.');
    throw error;
  }
  if (!isObject(parsed)) throw malformed('The body is not a JSON object.');
  return parsed;
}

function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

interface FieldTypes {
  readonly number: number;
  readonly string: string;
  readonly boolean: boolean;
}

/** A field of that type; undefined when it is absent or null. Numbers are whole. */
function field<T extends keyof FieldTypes>(body: Body, name: string, type: T): FieldTypes[T] | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== type || (type === 'number' && !Number.isSafeInteger(value)))
    throw malformed(`The field ${name} is not a ${type === 'number' ? 'whole number' : type}.`);
  return value as FieldTypes[T];
}

interface Tag {
  readonly key: string | undefined;
  readonly value: string | undefined;
}

function parseTags(value: unknown): Tag[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw malformed('The field Tags is not a list.');
  return value.map((tag: unknown) => {
    if (!isObject(tag)) throw malformed('A member of Tags is not an object.');
    return { key: field(tag, 'Key', 'string'), value: field(tag, 'Value', 'string') };
  });
}

function checkTags(constraints: Constraints, tags: readonly Tag[]): void {
  constraints.length('tags', tags.length, TAGS_MAX);
  tags.forEach(({ key, value }, at) => {
    constraints.text(`tags.${at + 1}.member.key`, key, { lengthMin: 1, lengthMax: 127 });
    constraints.text(`tags.${at + 1}.member.value`, value, { lengthMax: 255 });
  });
}

function distinctTags(tags: readonly Tag[]): Record<string, string> {
  const distinct = new Map<string, string>();
  for (const { key, value } of tags) {
    if (key === undefined) throw invalid(Reason.InvalidTag, 'A tag must have a key.');
    if (/^aws:/i.test(key))
      throw invalid(Reason.InvalidTag, `The tag key '${key}' begins with the reserved 'aws:'.`);
    if (distinct.has(key)) throw invalid(Reason.InvalidTag, `The tag key '${key}' is given more than once.`);
    distinct.set(key, value ?? '');
  }
  return Object.fromEntries(distinct);
}

function malformed(message: string): Error {
  return frameworkError('SerializationException', message);
}
