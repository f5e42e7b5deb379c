import t from 'tap';
import { isSubjectNamed, parseDistinguishedName } from '../../../src/nbd/tls/distinguished-name.js';
import { UsageError } from '../../../src/util/errors.js';

const SUBJECT = 'C=GB\nO=Example\\, Ltd\nCN=laptop';

t.test('a name is the same in either order, and nothing less or more is', async (t) => {
  const is = (text: string): boolean => isSubjectNamed(SUBJECT, parseDistinguishedName(text));
  t.equal(is(String.raw`C=GB,O=Example\, Ltd,CN=laptop`), true);
  t.equal(is(String.raw`CN=laptop, O=Example\, Ltd, C=GB`), true);
  t.equal(is(String.raw`cn=laptop,o=Example\, Ltd,c=GB`), true, 'types have no case');
  t.equal(is('CN=laptop'), false, 'a part of it');
  t.equal(is(String.raw`CN=Laptop,O=Example\, Ltd,C=GB`), false, 'values have case');
  t.equal(is(String.raw`CN=laptop,O=Example\, Ltd,C=GB,OU=x`), false);
  t.equal(is(String.raw`O=Example\, Ltd,CN=laptop,C=GB`), false, 'any other order');
});

t.test('what is not a name is refused', async (t) => {
  for (const text of ['', 'laptop', 'CN=a,b', '=x', ',']) {
    t.throws(() => parseDistinguishedName(text), UsageError, text);
  }
});
