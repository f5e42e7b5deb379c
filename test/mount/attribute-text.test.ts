import t from 'tap';
import { attributeText, parseAttributeText } from '../../src/mount/attribute-text.js';

t.test('names and values with any bytes come back as they were', (t) => {
  const every = Buffer.from(Array.from({ length: 255 }, (_, index) => index + 1));
  const files = [
    {
      path: Buffer.concat([Buffer.from('/a/'), every]),
      attributes: [
        { name: Buffer.concat([Buffer.from('user.'), every]), value: every },
        { name: Buffer.from('user.empty'), value: Buffer.alloc(0) },
      ],
    },
    { path: Buffer.from('b'), attributes: [] },
  ];
  const text = attributeText(files);
  t.strictSame(parseAttributeText(text), files);
  t.match(text, /^# file: \/a\/\\001\\002/, 'nothing that would end a line');
  t.end();
});

t.test('what getfattr writes is read', (t) => {
  t.strictSame(parseAttributeText('# file: odd\\012 name\nuser.a\\075b=0x6162\nuser.empty\n\n'), [
    {
      path: Buffer.from('odd\n name'),
      attributes: [
        { name: Buffer.from('user.a=b'), value: Buffer.from('ab') },
        { name: Buffer.from('user.empty'), value: Buffer.alloc(0) },
      ],
    },
  ]);
  t.end();
});
