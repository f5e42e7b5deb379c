import { CHECKSUM_AGGREGATION, CHECKSUM_ALGORITHM } from '../../ebs/constants.js';
import type { Constraints } from '../constraints.js';

// The fields of checksums as the service model has them. [ebs: Wire format]

const CHECKSUM_LENGTH_MAX = 64;

export function checkChecksum(constraints: Constraints, value: string | undefined): void {
  constraints.text('checksum', value, { lengthMax: CHECKSUM_LENGTH_MAX, pattern: /^[A-Za-z0-9+/=]+$/ });
}

export function checkAlgorithm(constraints: Constraints, value: string | undefined): void {
  constraints.text('checksumAlgorithm', value, { allowed: [CHECKSUM_ALGORITHM] });
}

export function checkAggregation(constraints: Constraints, value: string | undefined): void {
  constraints.text('checksumAggregationMethod', value, { allowed: [CHECKSUM_AGGREGATION] });
}
