import { boundAnswer, type HttpAnswer } from './answer-bound.js';
import type { CallRunner } from './call-runner.js';

/** A request as the SDK's last step has it. */
interface RequestTarget {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
}

/** Where {@link watchAnswers} belongs among the steps of a client of the SDK. */
export const WATCHED_STEP = { step: 'deserialize', priority: 'low', name: 'snapnbdAnswer' } as const;

/** A step of a client of the SDK: notes where calls go to, and bounds what answers can bring into memory. */
export function watchAnswers(calls: CallRunner) {
  return <Call extends { readonly request: unknown }, Result extends { readonly response: unknown }>(
      next: (call: Call) => Promise<Result>,
    ) =>
    async (call: Call): Promise<Result> => {
      const { protocol, hostname, port } = call.request as RequestTarget;
      calls.endpoint = `${protocol}//${hostname}${port === undefined ? '' : `:${port}`}`;
      const result = await next(call);
      boundAnswer(result.response as HttpAnswer);
      return result;
    };
}
