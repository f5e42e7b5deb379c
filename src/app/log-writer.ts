import type { LogFields, Logger } from '../util/logger.js';
import { LogLevel } from '../util/logger.js';

export const LogFormat = { Text: 'text', Json: 'json' } as const;
export type LogFormat = (typeof LogFormat)[keyof typeof LogFormat];

/** How log lines are written. */
export interface LogWriterOptions {
  /** Default: text. */
  readonly format?: LogFormat;
  /** The least severe level that is written. Default: info. */
  readonly level?: LogLevel;
  /** Takes one line, with its line feed. */
  readonly write: (line: string) => void;
  /** Milliseconds since 1970. Default: the real time. */
  readonly dateMs?: () => number;
}

const SEVERITY: Readonly<Record<LogLevel, number>> = {
  [LogLevel.Debug]: 0,
  [LogLevel.Info]: 1,
  [LogLevel.Warn]: 2,
  [LogLevel.Error]: 3,
};

/** A logger that writes lines: `TIME LEVEL message key=value`, or one JSON object a line. */
export function createLogWriter(options: LogWriterOptions): Logger {
  const { format = LogFormat.Text, level = LogLevel.Info, write, dateMs = Date.now } = options;
  const formatLine = format === LogFormat.Json ? jsonLine : textLine;
  const at = (fixed: LogFields): Logger => {
    const log =
      (lineLevel: LogLevel) =>
      (message: string, fields: LogFields = {}): void => {
        if (SEVERITY[lineLevel] < SEVERITY[level]) return;
        write(formatLine(new Date(dateMs()).toISOString(), lineLevel, message, { ...fixed, ...fields }));
      };
    return {
      debug: log(LogLevel.Debug),
      info: log(LogLevel.Info),
      warn: log(LogLevel.Warn),
      error: log(LogLevel.Error),
      child: (fields) => at({ ...fixed, ...fields }),
    };
  };
  return at({});
}

function jsonLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  return `${JSON.stringify({ ...fields, time, level, message })}\n`;
}

function textLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${textValue(value)}`);
  return `${time} ${level.padEnd(5)} ${printable(message)}${pairs.join('')}\n`;
}

/** Bare where that is unambiguous, else a JSON string: a peer's bytes must not forge a line or a field. */
function textValue(value: LogFields[string]): string {
  if (typeof value !== 'string') return String(value);
  return /^[\w.:/@+,-]+$/.test(value) ? value : escapeControls(JSON.stringify(value));
}

function printable(message: string): string {
  return escapeControls(message);
}

/** JSON leaves DEL and the C1 controls as they are; terminals obey them. */
function escapeControls(text: string): string {
  return text.replace(
    /[\p{Control}\u2028\u2029]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
