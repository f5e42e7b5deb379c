// See scripts/fuzz.
import { parseOptions, USAGE } from './options.js';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === 'help') {
    say(USAGE);
  } else if (options.record) {
    const { record } = await import('./record.js');
    await record(say);
  } else {
    say(`seed ${options.seed}, from input ${options.first} on, ${options.isTls ? 'with' : 'without'} TLS`);
    const { fuzz } = await import('./run.js');
    const { inputs, seconds, receivedBytes, looks, warm, peakMib, end, cpuSeconds } = await fuzz(
      options,
      say,
    );
    say(
      `${warm.residentMib} MiB resident when it had warmed up, ${peakMib} at most, ${end.residentMib} at the end; ` +
        `${end.descriptors} descriptors; ${looks} looks of the canary; ` +
        `${Math.round(receivedBytes / 2 ** 20)} MiB of answers; ${Math.round(inputs / seconds)} inputs a second`,
    );
    const perInput = (taken: number): string => `${((taken / inputs) * 1000).toFixed(2)} ms`;
    say(
      `of a processor for each input: ${perInput(cpuSeconds.server)} of the server, ` +
        `${perInput(cpuSeconds.driver)} of this program`,
    );
    say(`${inputs} inputs passed`);
  }
} catch (error) {
  process.stderr.write(`fuzz: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
