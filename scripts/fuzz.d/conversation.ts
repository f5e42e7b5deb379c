import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where the recordings are: what real clients said, to a server that served what {@link ./target.ts} serves. */
export const RECORDINGS = join(import.meta.dirname, '../../test/fixtures/conversations');

/** What a client said on one connection, cut at the boundaries of its messages. */
export interface Conversation {
  readonly name: string;
  readonly messages: readonly Buffer[];
}

/** Reads the recordings. @throws {Error} when there are none. */
export function loadConversations(): readonly Conversation[] {
  const names = readdirSync(RECORDINGS).sort();
  if (names.length === 0) throw new Error(`There are no recordings in ${RECORDINGS}`);
  return names.map((name) => {
    const lines = readFileSync(join(RECORDINGS, name), 'utf8').split('\n');
    const hex = lines.filter((line) => !line.startsWith('#')).join('');
    return { name, messages: messagesOf(Buffer.from(hex, 'hex')) };
  });
}

/** Writes a recording: a line that says whose it is, and a line of hexadecimal digits for each message. */
export function saveConversation(name: string, client: string, said: Buffer): void {
  const lines = [`# ${client}`, ...messagesOf(said).map((message) => message.toString('hex'))];
  writeFileSync(join(RECORDINGS, name), `${lines.join('\n')}\n`);
}

const OPTION_HEADER_BYTES = 16;
const REQUEST_HEADER_BYTES = 28;
const EXTENDED_REQUEST_HEADER_BYTES = 32;
const WRITE = 1;
const PAYLOAD_LEN = 32;

/** Cuts what a client said: its flags, options, requests with their payload; what is none of these stays whole. */
export function messagesOf(said: Buffer): readonly Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at < said.length;) {
    const lengthBytes = at === 0 ? 4 : lengthOfMessage(said.subarray(at));
    messages.push(said.subarray(at, at + lengthBytes));
    at += lengthBytes;
  }
  return messages;
}

function lengthOfMessage(bytes: Buffer): number {
  if (bytes.length >= OPTION_HEADER_BYTES && bytes.toString('latin1', 0, 8) === 'IHAVEOPT') {
    return OPTION_HEADER_BYTES + bytes.readUInt32BE(12);
  }
  if (bytes.length >= REQUEST_HEADER_BYTES && bytes.readUInt32BE(0) === 0x25609513) {
    return REQUEST_HEADER_BYTES + (bytes.readUInt16BE(6) === WRITE ? bytes.readUInt32BE(24) : 0);
  }
  if (bytes.length >= EXTENDED_REQUEST_HEADER_BYTES && bytes.readUInt32BE(0) === 0x21e41c71) {
    const hasPayload = bytes.readUInt16BE(6) === WRITE || (bytes.readUInt16BE(4) & PAYLOAD_LEN) !== 0;
    return EXTENDED_REQUEST_HEADER_BYTES + (hasPayload ? Number(bytes.readBigUInt64BE(24)) : 0);
  }
  return bytes.length;
}
