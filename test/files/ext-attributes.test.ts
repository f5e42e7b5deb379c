// Extended attributes of ext4: in the inode, in a block, in an inode of their own; lists of access control.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MemoryDevice } from '../../src/device/memory-device.js';
import type { Filesystem } from '../../src/files/filesystem.js';
import { openFilesystem } from '../../src/files/open-filesystem.js';
import { needsPrograms } from '../fixtures/programs.js';
import { mustRun } from '../fixtures/run-program.js';
import { workFolder } from '../fixtures/work-folder.js';

/** As getxattr(2) has it: the owner, user 1234, the owning group, the mask, all others. */
const ACL = Buffer.from(
  '02000000' + '01000600ffffffff02000600d204000004000400ffffffff10000600ffffffff20000400ffffffff',
  'hex',
);
/** More than a block of 1024 bytes has room for, beside the rest of what is in it. */
const LARGE = Buffer.alloc(1024, 'q');
const MIDDLE = Buffer.alloc(150, 'm');

async function makeImage(t: Test, features: string): Promise<Buffer> {
  const folder = workFolder(t);
  const [tree, image, value] = ['tree', 'image', 'value'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  mkdirSync(tree);
  writeFileSync(join(tree, 'file'), 'content');
  writeFileSync(join(tree, 'plain'), 'content');
  await mustRun('mke2fs', [
    '-q',
    '-t',
    'ext4',
    '-b',
    '1024',
    '-I',
    '256',
    '-O',
    features,
    '-d',
    tree,
    image,
    '2048k',
  ]);
  const set = async (name: string, content: Buffer): Promise<void> => {
    writeFileSync(value, content);
    await mustRun('debugfs', ['-w', '-R', `ea_set -f ${value} /file ${name}`, image]);
  };
  await set('user.one', Buffer.from('1'));
  await set('system.posix_acl_access', ACL);
  await set('user.middle', MIDDLE);
  if (features.includes('ea_inode')) await set('user.large', LARGE);
  await set('security.selinux', Buffer.from('label'));
  return readFileSync(image);
}

function opened(image: Buffer): Promise<Filesystem> {
  const device = new MemoryDevice(image.length);
  device.write(0, image);
  return openFilesystem(device);
}

async function attributesOf(image: Buffer): Promise<Readonly<Record<string, string>>> {
  const found = await (await opened(image)).readAttributes('/file');
  return Object.fromEntries((found ?? []).map(({ name, value }) => [name.toString(), value.toString('hex')]));
}

for (const features of ['ea_inode', 'inline_data', '^metadata_csum']) {
  t.test(`attributes of ext4 with ${features}`, needsPrograms('mke2fs', 'debugfs'), async (t) => {
    const image = await makeImage(t, features);
    t.strictSame(await attributesOf(image), {
      'user.one': '31',
      'user.middle': MIDDLE.toString('hex'),
      'security.selinux': Buffer.from('label').toString('hex'),
      'system.posix_acl_access': ACL.toString('hex'),
      ...(features === 'ea_inode' ? { 'user.large': LARGE.toString('hex') } : {}),
    });
    t.strictSame(await (await opened(image)).readAttributes('/plain'), [], 'a file that has none');

    // "middle" is in the block, as there is no room for it in the inode.
    const damagedImage = Buffer.from(image);
    damagedImage[damagedImage.indexOf(MIDDLE)] = 0;
    if (features === '^metadata_csum') {
      t.match(await attributesOf(damagedImage), { 'user.middle': /^006d/ }, 'nothing tells');
    } else {
      await t.rejects(attributesOf(damagedImage), {
        code: 'EIO',
        message: /checksum of the extended attributes/,
      });
    }
    const name = damagedImage.indexOf('middle', damagedImage.indexOf(MIDDLE.subarray(1)) - 1024);
    image.writeUInt16LE(0xfff0, name - 14);
    await t.rejects(attributesOf(image), { code: 'EIO' }, 'a value outside of the block');
  });
}
