import { configuredEndpoint } from '../ebs/network-settings.js';
import type { Ec2Api } from '../ec2/ec2-api.js';
import { createEc2Api, type Ec2ClientOptions } from '../ec2/ec2-client.js';
import type { ApiSettings } from './settings.js';

/** Hosts of AWS, in all its partitions, private endpoints included. */
const AWS_HOST = /(?:^|\.)(?:amazonaws\.com(?:\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn)$/;

/**
 * Opens EC2.
 *
 * @param options region, credentials, patience; the endpoint is found here, see {@link ec2EndpointUrlOf}.
 * @throws {EnvironmentError} when the optional package for it is not installed; {EbsError} without region or credentials.
 */
export async function openEc2(
  settings: Pick<ApiSettings, 'ec2EndpointUrl' | 'endpointUrl' | 'profile'>,
  options: Ec2ClientOptions,
): Promise<Ec2Api> {
  const endpointUrl = await ec2EndpointUrlOf(settings, process.env);
  return createEc2Api({ ...options, endpointUrl });
}

/**
 * Where EC2 is: what was said for it; else where the EBS direct APIs are, if that is not AWS, so that whoever tries an
 * emulator does not change an account by mistake; else what is configured.
 *
 * @returns undefined: the region's own endpoint.
 */
export async function ec2EndpointUrlOf(
  { ec2EndpointUrl, endpointUrl, profile }: Pick<ApiSettings, 'ec2EndpointUrl' | 'endpointUrl' | 'profile'>,
  environment: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  if (ec2EndpointUrl !== undefined) return ec2EndpointUrl;
  if (environment.AWS_ENDPOINT_URL_EC2) return environment.AWS_ENDPOINT_URL_EC2;
  if (isElsewhere(endpointUrl)) return endpointUrl;
  const configured = await configuredEndpoint(profile, 'EC2');
  if (configured !== undefined) return configured;
  const ofEbs = await configuredEndpoint(profile, 'EBS');
  return isElsewhere(ofEbs) ? ofEbs : undefined;
}

function isElsewhere(url: string | undefined): url is string {
  return url !== undefined && URL.canParse(url) && !AWS_HOST.test(new URL(url).hostname);
}
