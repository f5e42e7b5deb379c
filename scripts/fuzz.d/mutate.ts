import {
  CMD,
  contextData,
  extendedRequestBytes,
  infoData,
  OPT,
  optionBytes,
  requestBytes,
} from '../../test/fixtures/nbd-bytes.js';
import type { Conversation } from './conversation.js';
import type { Random } from './random.js';

/** No input is longer, so that none takes much longer than the others. */
const INPUT_BYTES_MAX = 256 * 1024;

const MUTATIONS_MAX = 6;

/** Where numbers tend to be taken wrongly. */
const INTERESTING = [
  ...[0n, 1n, 2n, 3n, 511n, 512n, 513n, 4095n, 4096n, 4097n, 65_535n, 65_536n, 524_287n, 524_288n, 2n ** 20n],
  ...[
    2n ** 21n - 1n,
    2n ** 21n,
    2n ** 26n,
    2n ** 26n + 1n,
    2n ** 30n - 1n,
    2n ** 30n,
    2n ** 31n - 1n,
    2n ** 31n,
  ],
  ...[2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n],
];

/** Messages that no recording may have. */
const FURTHER_MESSAGES: readonly Buffer[] = [
  optionBytes(OPT.STARTTLS),
  optionBytes(OPT.EXTENDED_HEADERS),
  optionBytes(OPT.STRUCTURED_REPLY),
  optionBytes(OPT.LIST),
  optionBytes(OPT.ABORT),
  optionBytes(OPT.EXPORT_NAME, Buffer.from('disk')),
  optionBytes(OPT.INFO, infoData('snap', [0, 1, 2, 3])),
  optionBytes(OPT.GO, infoData('', [3, 3, 3])),
  optionBytes(OPT.SET_META_CONTEXT, contextData('snap', ['base:allocation', 'base:', 'qemu:'])),
  optionBytes(OPT.LIST_META_CONTEXT, contextData('disk', [])),
  requestBytes({ type: CMD.CACHE, length: 2n ** 30n }),
  requestBytes({ type: CMD.WRITE, offset: 2n ** 20n, payload: Buffer.alloc(5000, 1) }),
  requestBytes({ type: CMD.BLOCK_STATUS, length: 2n ** 21n }),
  requestBytes({ type: CMD.DISC }),
  extendedRequestBytes({ type: CMD.BLOCK_STATUS, length: 2n ** 30n }),
  extendedRequestBytes({ type: CMD.BLOCK_STATUS, flags: 32, payload: Buffer.alloc(12) }),
  extendedRequestBytes({ type: CMD.WRITE_ZEROES, length: 2n ** 33n }),
];

/** Makes an input of a conversation, or of parts of several. */
export function mutate(conversations: readonly Conversation[], random: Random): readonly Buffer[] {
  const messages = [...random.pick(conversations).messages];
  const mutations = 1 + random.below(MUTATIONS_MAX);
  for (let done = 0; done < mutations; done += 1) {
    if (random.oneIn(3)) rearrange(messages, conversations, random);
    else changeOne(messages, random);
  }
  return bounded(messages);
}

function rearrange(messages: Buffer[], conversations: readonly Conversation[], random: Random): void {
  const at = random.below(messages.length + 1);
  switch (random.below(6)) {
    case 0:
      messages.splice(at, 1 + random.below(3));
      return;
    case 1:
      messages.splice(at, 0, ...messages.slice(at, at + 1 + random.below(8)));
      return;
    case 2:
      messages.splice(at, messages.length, ...spliced(random.pick(conversations), random));
      return;
    case 3:
      messages.push(...messages.splice(at, 1 + random.below(3)));
      return;
    default:
      messages.splice(at, 0, random.pick(FURTHER_MESSAGES));
  }
}

/** The end of another conversation. */
function spliced({ messages }: Conversation, random: Random): readonly Buffer[] {
  return messages.slice(random.below(messages.length));
}

/** Changes a copy of one message, more often in its header, where the numbers are. */
function changeOne(messages: Buffer[], random: Random): void {
  if (messages.length === 0) return;
  const index = random.below(messages.length);
  const message = Buffer.from(messages[index] ?? Buffer.alloc(0));
  if (message.length === 0) return;
  const at = random.below(random.oneIn(3) ? message.length : Math.min(message.length, 40));
  switch (random.below(7)) {
    case 0:
      message[at] = (message[at] ?? 0) ^ (1 << random.below(8));
      break;
    case 1:
      message[at] = random.below(256);
      break;
    case 2:
      messages[index] = Buffer.concat([message.subarray(0, at), message.subarray(at + 1 + random.below(16))]);
      return;
    case 3:
      messages[index] = Buffer.concat([message.subarray(0, at), noise(random), message.subarray(at)]);
      return;
    case 4:
      messages[index] = message.subarray(0, at);
      return;
    default:
      writeNumber(message, random);
  }
  messages[index] = message;
}

function noise(random: Random): Buffer {
  return Buffer.from(Array.from({ length: 1 + random.below(32) }, () => random.below(256)));
}

/** Puts an interesting number where a field may be: at an even offset near the beginning. */
function writeNumber(message: Buffer, random: Random): void {
  const widthBytes = random.pick([2, 4, 8]);
  const room = Math.min(message.length, 48) - widthBytes;
  if (room < 0) return;
  const value = random.pick(INTERESTING) + (random.oneIn(4) ? BigInt(random.below(3)) : 0n);
  const at = 2 * random.below(Math.floor(room / 2) + 1);
  const field = BigInt.asUintN(8 * widthBytes, value);
  if (widthBytes === 8) message.writeBigUInt64BE(field, at);
  else message.writeUIntBE(Number(field), at, widthBytes);
}

function bounded(messages: readonly Buffer[]): readonly Buffer[] {
  let leftBytes = INPUT_BYTES_MAX;
  return messages.flatMap((message) => {
    const part = message.subarray(0, Math.max(0, leftBytes));
    leftBytes -= part.length;
    return part.length === 0 ? [] : [part];
  });
}
