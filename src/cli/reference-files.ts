import { modelOf } from './command-model.js';
import { createProgram } from './program.js';
import { configReference, manualPage, markdownReference } from './reference.js';

/** The files of the repository that are made from the commands, by their paths. */
export function referenceFiles(): ReadonlyMap<string, string> {
  const program = createProgram();
  const model = modelOf(program);
  const serve = model.children.find(({ path }) => path === 'snapnbd serve');
  return new Map([
    ['docs/CLI.md', markdownReference(model)],
    ['man/snapnbd.1', manualPage(model, program.version() ?? '')],
    ...(serve === undefined ? [] : [['docs/CONFIG.md', configReference(serve)] as const]),
  ]);
}
