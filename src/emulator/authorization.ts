import { frameworkError, type ApiError } from './errors.js';

const ALGORITHM = 'AWS4-HMAC-SHA256';
const PARTS = ['Credential', 'SignedHeaders', 'Signature'] as const;

/**
 * Checks that a request is signed, by the form of its signature: the signature itself is not verified, for the
 * emulator knows no secret keys. [ebs: Wire format / SigV4]
 *
 * @param header gives a header by its name in lower case.
 * @param service that the signature has to be for. Default: `ebs`.
 * @returns the region that the signature is for.
 * @throws {ApiError} 403, as the framework in front of the service answers.
 */
export function checkAuthorization(
  header: (name: string) => string | undefined,
  service = 'ebs',
): { readonly region: string } {
  const authorization = header('authorization')?.trim() ?? '';
  if (authorization === '')
    throw frameworkError('MissingAuthenticationTokenException', 'Missing Authentication Token');
  if (!authorization.startsWith(`${ALGORITHM} `))
    throw incomplete(`Authorization header must begin with '${ALGORITHM}'.`);
  const fields = parseFields(authorization.slice(ALGORITHM.length));
  const missing = PARTS.filter((part) => (fields.get(part) ?? '') === '');
  if (missing.length > 0)
    throw incomplete(
      `Authorization header requires ${missing.map((part) => `'${part}'`).join(', ')} parameter.`,
    );
  if (header('x-amz-date') === undefined && header('date') === undefined)
    throw incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.");
  return { region: checkScope(fields.get('Credential') ?? '', service) };
}

/** `Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=..., Signature=...` */
function parseFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    if (equals > 0) fields.set(part.slice(0, equals).trim(), part.slice(equals + 1).trim());
  }
  return fields;
}

function checkScope(credential: string, service: string): string {
  // An access key may hold slashes; the scope is the last four parts.
  const scope = credential.split('/').slice(-4);
  if (credential.split('/').length < 5 || scope[3] !== 'aws4_request')
    throw incomplete("Credential must have five parts: 'KEY/DATE/REGION/SERVICE/aws4_request'.");
  if (scope[2] !== service) {
    throw frameworkError(
      'InvalidSignatureException',
      `Credential should be scoped to correct service: '${service}'.`,
    );
  }
  return scope[1] ?? '';
}

function incomplete(message: string): ApiError {
  return frameworkError('IncompleteSignatureException', message);
}
