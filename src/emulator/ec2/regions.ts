import type { Ec2Query } from './query.js';
import { Ec2ApiError } from './ec2-error.js';
import { shown } from './query.js';
import type { XmlElements } from './xml.js';

/** Those that every account can use. */
const REGIONS = [
  ...['ap-northeast-1', 'ap-northeast-2', 'ap-northeast-3', 'ap-south-1', 'ap-southeast-1', 'ap-southeast-2'],
  ...['ca-central-1', 'eu-central-1', 'eu-north-1', 'eu-west-1', 'eu-west-2', 'eu-west-3'],
  ...['sa-east-1', 'us-east-1', 'us-east-2', 'us-west-1', 'us-west-2'],
];

/** [ec2: DescribeRegions] */
export function describeRegions(query: Ec2Query): XmlElements {
  const asked = query.list('RegionName');
  const unknown = asked.find((name) => !REGIONS.includes(name));
  if (unknown !== undefined) {
    throw new Ec2ApiError('InvalidParameterValue', `Invalid region provided: ${shown(unknown)}`);
  }
  const names = asked.length === 0 ? REGIONS : asked;
  return {
    regionInfo: names.map((name) => ({
      regionName: name,
      regionEndpoint: `ec2.${name}.amazonaws.com`,
      optInStatus: 'opt-in-not-required',
    })),
  };
}
