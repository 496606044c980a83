// Gradio's base points to where the page is anyway. With one, Plotly names what its charts are clipped by with the
// whole address: as soon as that changes, marks are no longer drawn.
document.querySelector('base')?.remove();

// Keeps the address a link to what is shown, once what it asked for is.
window.crosstalk = (key, value) => {
  if (!crosstalk.ready) return;
  const here = new URL(location);
  if (value) here.searchParams.set(key, value); else here.searchParams.delete(key);
  history.replaceState(null, '', here);
};

// A setting stands in the address while it is another than the one that the page starts with.
crosstalk.setting = (key, value, first) => crosstalk(key, String(value) === first ? '' : String(value));

crosstalk.presenting = () => document.documentElement.classList.contains('presenting');
crosstalk.present = on => {
  document.documentElement.classList.toggle('presenting', on);
  document.querySelector('#present')?.setAttribute('aria-pressed', on);
  crosstalk('present', on ? '1' : '');
  window.dispatchEvent(new Event('resize'));  // charts take the new room
  crosstalk.letters();
};

// Letters of charts in pixels. Those that are drawn anew, or later, get theirs with the next look.
crosstalk.letters = () => {
  const size = crosstalk.presenting() ? 19 : 14;
  for (const chart of document.querySelectorAll('.js-plotly-plot')) {
    if (!chart._fullLayout || !chart.offsetWidth || chart._fullLayout.font.size === size) continue;
    const titles = Object.keys(chart._fullLayout).filter(key => /^[xy]axis\d*$/.test(key));
    Plotly.relayout(chart, Object.fromEntries([
      ['font.size', size], ...titles.map(axis => [`${axis}.title.font.size`, size]),
    ]));
  }
};
setInterval(crosstalk.letters, 700);
if (new URL(location).searchParams.get('present') === '1') crosstalk.present(true);
document.addEventListener('keydown', event => {
  if (event.key === 'Escape' && crosstalk.presenting() && !event.target.closest('input, textarea, dialog')) {
    crosstalk.present(false);
  }
});

// A picture of the visitor's own stays here: no link can carry it.
crosstalk.copy = async () => {
  const own = document.querySelector('#picture img') && !document.querySelector('#suggestions button');
  try {
    await navigator.clipboard.writeText(location.href);
  } catch {  // no permission, or an address without https
    const box = document.body.appendChild(document.createElement('textarea'));
    box.value = location.href;
    box.select();
    document.execCommand('copy');
    box.remove();
  }
  const told = document.querySelector('#copied');
  told.textContent = own ? 'Copied. Your own picture is not in the link.' : 'Copied.';
  setTimeout(() => { told.textContent = ''; }, 6000);
};

// A word of the glossary is explained where it stands first: in a sentence, in a paragraph beside a chart, in a lesson.
crosstalk.explained = new WeakSet();
crosstalk.explain = () => {
  const spelt = Object.keys(crosstalk.words).sort((a, b) => b.length - a.length);
  const either = spelt.map(word => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
  for (const block of document.querySelectorAll('.sentence p, p.key, .lesson .prose')) {
    if (crosstalk.explained.has(block) || block.parentElement.closest('.prose')) continue;
    crosstalk.explained.add(block);
    const told = new Set();
    const texts = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    const found = [];
    while (texts.nextNode()) {
      if (!texts.currentNode.parentElement.closest('a, code, button, abbr, h1, h2, h3, h4, table, .term')) {
        found.push(texts.currentNode);
      }
    }
    for (let text of found) {
      const word = new RegExp(`(?<![\\p{L}\\d-])(?:${either})(?![\\p{L}\\d-])`, 'giu');
      for (let match; (match = word.exec(text.data));) {
        // names such as EWC and INTER are written as they are; other words may begin a sentence
        const known = spelt.find(s => s === match[0])
          ?? spelt.find(s => s === s.toLowerCase() && s === match[0].toLowerCase());
        if (!known || told.has(crosstalk.words[known][0])) continue;
        const [name, means] = crosstalk.words[known];
        told.add(name);
        const rest = text.splitText(match.index);
        const after = rest.splitText(match[0].length);
        const term = document.createElement('dfn');
        const tip = document.createElement('span');
        term.className = 'term';
        term.tabIndex = 0;
        tip.setAttribute('role', 'tooltip');
        tip.textContent = means;
        rest.replaceWith(term);
        term.append(rest, tip);
        text = after;
        word.lastIndex = 0;
      }
    }
  }
};
setInterval(crosstalk.explain, 1000);
