// Walks through the files of an export. Names are text, never markup.
import { bytes } from './figures.js';

function queryOf(exportName, path) {
  const query = new URLSearchParams({ export: exportName });
  for (const name of path) query.append('p', name);
  return query;
}

function cell(content) {
  const td = document.createElement('td');
  td.append(content);
  return td;
}

/** Makes a part of the page that shows the files of an export when it is opened. */
export function fileBrowser(exportName) {
  const details = document.createElement('details');
  const summary = document.createElement('summary');
  summary.textContent = 'Files';
  summary.setAttribute('aria-label', `Files of ${exportName}`);
  const place = document.createElement('p');
  const list = document.createElement('div');
  details.append(summary, place, list);
  let path = [];

  const go = async (to) => {
    path = to;
    place.setAttribute('role', 'status');
    place.textContent = `Reading /${path.join('/')} …`;
    const wanted = path;
    try {
      const response = await fetch(`api/files?${queryOf(exportName, path)}`);
      const answer = await response.json();
      if (wanted !== path) return;
      if (!response.ok) throw new Error(answer.error);
      show(answer);
    } catch (error) {
      if (wanted === path) place.textContent = error.message;
    }
  };

  const button = (name, to) => {
    const element = document.createElement('button');
    element.type = 'button';
    element.className = 'plain';
    element.textContent = name;
    element.addEventListener('click', () => void go(to));
    return element;
  };

  const show = ({ entries, isCut }) => {
    place.replaceChildren(button('disk', []));
    for (const [index, name] of path.entries()) place.append(' / ', button(name, path.slice(0, index + 1)));
    const table = document.createElement('table');
    for (const entry of entries) {
      const row = table.insertRow();
      row.append(cell(nameOf(entry)), cell(entry.kind === 'file' ? bytes(entry.sizeBytes) : entry.kind));
      row.append(cell(entry.modifiedMs > 0 ? new Date(entry.modifiedMs).toISOString().slice(0, 19) : ''));
    }
    list.replaceChildren(table);
    if (entries.length === 0) list.replaceChildren('Nothing.');
    if (isCut) list.append('There is more than is shown here: "snapnbd ls" has all of it.');
  };

  const nameOf = (entry) => {
    if (entry.kind === 'folder') return button(`${entry.name}/`, [...path, entry.name]);
    if (entry.kind === 'file') {
      const link = document.createElement('a');
      link.href = `download?${queryOf(exportName, [...path, entry.name])}`;
      link.download = '';
      link.textContent = entry.name;
      return link;
    }
    return entry.target === undefined ? entry.name : `${entry.name} → ${entry.target}`;
  };

  details.addEventListener('toggle', () => {
    if (details.open && list.childElementCount === 0) void go(path);
  });
  return details;
}
