import t from 'tap';
import { checkExposure, isLocalOnly } from '../../../src/nbd/listen/exposure.js';
import { parseListenAddress } from '../../../src/nbd/listen/listen-address.js';
import { UsageError } from '../../../src/util/errors.js';

const LOCAL = ['127.0.0.1:1', '127.9.9.9:1', 'localhost:1', '[::1]:1', '[::ffff:127.0.0.1]:1', 'unix:/x'];
const OPEN = [
  '0.0.0.0:1',
  '[::]:1',
  '10.0.0.1:1',
  'example.com:1',
  '[::2]:1',
  '[fe80::1%lo]:1',
  '128.0.0.1:1',
];

t.test('knows what only this machine can reach', async (t) => {
  for (const text of LOCAL) t.equal(isLocalOnly(parseListenAddress(text)), true, text);
  for (const text of OPEN) t.equal(isLocalOnly(parseListenAddress(text)), false, text);
});

t.test('disks go over the network in the clear only when somebody said so', async (t) => {
  const no = { isTlsRequired: false, isInsecureAllowed: false };
  for (const text of LOCAL) t.doesNotThrow(() => checkExposure(parseListenAddress(text), no), text);
  for (const text of OPEN) {
    const address = parseListenAddress(text);
    t.throws(() => checkExposure(address, no), UsageError, text);
    t.throws(() => checkExposure(address, no), /--tls require.*--insecure/, text);
    t.doesNotThrow(() => checkExposure(address, { ...no, isTlsRequired: true }));
    t.doesNotThrow(() => checkExposure(address, { ...no, isInsecureAllowed: true }));
  }
});
