// Walks through the files of an export. Names are text, never markup.
import { bytes } from './figures.js';

/** What is shown at once: a browser that has more rows than this is slow. */
const ROWS_MAX = 10_000;

function queryOf(exportName, path, more = {}) {
  const query = new URLSearchParams({ export: exportName, ...more });
  for (const { key } of path) query.append('p', key);
  return query;
}

function element(name, text, properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(text, act) {
  const made = element('button', text, { type: 'button', className: 'plain' });
  made.addEventListener('click', act);
  return made;
}

/** Makes a part of the page that shows the files of an export when it is opened. */
export function fileBrowser(exportName) {
  const details = element('details', undefined, { className: 'files' });
  const summary = element('summary', 'Files');
  summary.setAttribute('aria-label', `Files of ${exportName}`);
  const place = element('p');
  place.setAttribute('role', 'status');
  const rows = element('tbody');
  const table = element('table');
  table.append(rows);
  const rest = element('p');
  details.append(summary, place, table, rest);
  let path = [];
  let asked = 0;

  const ask = async (to, from) => {
    asked += 1;
    const mine = asked;
    path = to;
    if (from === 0) place.textContent = `Reading /${to.map(({ name }) => name).join('/')} …`;
    rest.replaceChildren(from === 0 ? '' : 'Reading …');
    try {
      const response = await fetch(`api/files?${queryOf(exportName, to, { from })}`);
      const answer = await response.json();
      // Something else was asked for meanwhile.
      if (mine !== asked) return;
      if (!response.ok) throw new Error(answer.error);
      show(answer, from);
    } catch (error) {
      if (mine !== asked) return;
      showPlace();
      place.append(`: ${error.message}`);
      rest.replaceChildren();
      if (from === 0) rows.replaceChildren();
    }
  };

  const showPlace = () => {
    place.replaceChildren(button('disk', () => void ask([], 0)));
    for (const [index, { name }] of path.entries()) {
      place.append(
        ' / ',
        button(name, () => void ask(path.slice(0, index + 1), 0)),
      );
    }
  };

  const show = ({ entries, next }, from) => {
    if (from === 0) {
      showPlace();
      rows.replaceChildren();
    }
    for (const entry of entries) rows.append(rowOf(entry));
    rest.replaceChildren(rows.childElementCount === 0 ? 'Nothing.' : '');
    if (next === null) return;
    if (rows.childElementCount < ROWS_MAX) rest.append(button('More', () => void ask(path, next)));
    else rest.append('There is more than is shown here: "snapnbd ls" has all of it.');
  };

  const rowOf = (entry) => {
    const { kind, sizeBytes, modifiedMs, note } = entry;
    const hasSize = kind === 'file' || path.length === 0;
    const row = element('tr');
    const name = element('td');
    name.append(nameOf(entry));
    row.append(
      name,
      element('td', hasSize ? bytes(sizeBytes) : ''),
      element('td', note ?? kind),
      element('td', modifiedMs === null ? '' : new Date(modifiedMs).toISOString().slice(0, 19)),
    );
    return row;
  };

  const nameOf = (entry) => {
    const { name, kind, target } = entry;
    if (kind === 'folder') return button(`${name}/`, () => void ask([...path, entry], 0));
    if (kind !== 'file') return target === undefined ? name : `${name} → ${target}`;
    const href = `download?${queryOf(exportName, [...path, entry])}`;
    return element('a', name, { href, download: '' });
  };

  details.addEventListener('toggle', () => {
    if (details.open && asked === 0) void ask([], 0);
  });
  return details;
}
