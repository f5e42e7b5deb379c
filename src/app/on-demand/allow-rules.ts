import type { SnapshotDescription } from '../../ec2/ec2-api.js';
import { UsageError } from '../../util/errors.js';
import { matchesWildcards } from '../../util/wildcards.js';

/** Which snapshots clients may ask for: any of the rules. In each, everything has to hold. */
export type AllowRules = readonly AllowRule[];

/** One `--allow`. */
export interface AllowRule {
  /** Of the id, with `*` and `?`. */
  readonly idPatterns: readonly string[];
  /** Of the values of tags, by their keys. */
  readonly tags: readonly (readonly [key: string, valuePattern: string])[];
  /** Accounts, or `self`. */
  readonly owners: readonly string[];
}

/** What is known of a snapshot when rules are held against it. */
export interface OwnedSnapshot {
  readonly description: SnapshotDescription;
  /** Whether it belongs to the account of the server. */
  readonly isOwn: boolean;
}

const OWNER_PATTERN = /^(?:self|\d{12})$/;
const ID_PATTERN = /^(?:\*|snap-[0-9a-f*?]+)$/;

/**
 * Reads one `--allow`: `snap-0123*`, `tag:KEY=PATTERN`, `owner:self`, `owner:ACCOUNT`, or several of them with commas between
 * them, all of which have to hold.
 *
 * @throws {UsageError}
 */
export function parseAllowRule(text: string): AllowRule {
  const rule = {
    idPatterns: [] as string[],
    tags: [] as (readonly [string, string])[],
    owners: [] as string[],
  };
  for (const part of text.split(',')) {
    const tag = /^tag:([^=]+)=(.*)$/s.exec(part);
    if (tag?.[1] !== undefined) rule.tags.push([tag[1], tag[2] ?? '']);
    else if (part.startsWith('owner:') && OWNER_PATTERN.test(part.slice('owner:'.length))) {
      rule.owners.push(part.slice('owner:'.length));
    } else if (ID_PATTERN.test(part)) rule.idPatterns.push(part);
    else {
      throw new UsageError(
        `Cannot use "${text}" as --allow: write snap-PATTERN, tag:KEY=PATTERN, owner:self or owner:ACCOUNT (12 digits), ` +
          'or several of them with commas.',
      );
    }
  }
  return rule;
}

/** True when the id alone is enough, so that nobody needs to ask EC2. */
export function isAllowedById(rules: AllowRules, snapshotId: string): boolean {
  return rules.some((rule) => rule.tags.length === 0 && rule.owners.length === 0 && fitsId(rule, snapshotId));
}

/** True when some rule may allow the id, once more is known about the snapshot. */
export function mayBeAllowed(rules: AllowRules, snapshotId: string): boolean {
  return rules.some((rule) => fitsId(rule, snapshotId));
}

/** True when some rule allows the snapshot. */
export function isAllowed(rules: AllowRules, { description, isOwn }: OwnedSnapshot): boolean {
  const tags = new Map(Object.entries(description.tags));
  return rules.some(
    (rule) =>
      fitsId(rule, description.snapshotId) &&
      rule.owners.every((owner) => (owner === 'self' ? isOwn : owner === description.ownerId)) &&
      rule.tags.every(([key, pattern]) => {
        const value = tags.get(key);
        return value !== undefined && matchesWildcards(pattern, value);
      }),
  );
}

function fitsId({ idPatterns }: AllowRule, snapshotId: string): boolean {
  return idPatterns.every((pattern) => matchesWildcards(pattern, snapshotId));
}
