// Serves a disk of one's own: a megabyte in which every byte is the low byte of its own offset.
import { ExportRegistry, formatNbdUri, NbdServer, parseListenAddress, type BlockDevice } from 'snapnbd';

const device: BlockDevice = {
  sizeBytes: 1024 * 1024,
  description: 'each byte is the low byte of its offset',
  read: (offset, lengthBytes) => [Uint8Array.from({ length: lengthBytes }, (_, index) => offset + index)],
};

const server = new NbdServer({ exports: new ExportRegistry([{ name: 'pattern', device }]) });
const address = await server.listen(parseListenAddress(process.argv[2] ?? '127.0.0.1:10809'));
console.log(formatNbdUri(address, 'pattern'));
process.once('SIGTERM', () => void server.drain());
