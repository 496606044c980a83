// Plays the clouds through the phases, joins pairs, and tells which pair is pointed at. The figures' layout.meta holds
// the places of every pair in every phase; positions between two phases are only shown on the way, they mean nothing.
const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
const plots = () => ['#space-raw', '#space-aligned']
  .map(id => document.querySelector(`${id} .js-plotly-plot`))
  .filter(plot => plot && plot.layout && plot.layout.meta && plot.offsetParent);
const mouse = {x: 0, y: 0};
let at = 0, chosen = null, timer = null, run = 0, pointed = null, pointer = null, joined = null;

// every pair's place in every phase, [phases][pairs][dimensions], unpacked once for each figure
const unpacked = new WeakMap();
function cloud(meta) {
  if (!unpacked.has(meta)) {
    const {pairs, dimensions: d} = meta;
    const read = text => {
      const flat = new Float32Array(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer);
      const place = start => Array.from(flat.subarray(start, start + d));
      return meta.labels.map((_, t) => Array.from({length: pairs}, (_, i) => place((t * pairs + i) * d)));
    };
    unpacked.set(meta, {images: read(meta.images), words: read(meta.words)});
  }
  return unpacked.get(meta);
}

const between = (a, b, share) => a.map((place, i) => place.map((v, axis) => v + share * (b[i][axis] - v)));

function places(meta, from, to, share) {
  const at = cloud(meta);
  const images = between(at.images[from], at.images[to], share);
  const words = between(at.words[from], at.words[to], share);
  return meta.rows.map(row => {
    const pairs = row.kind === 'chosen' ? (chosen === null || chosen >= images.length ? [] : [chosen]) : row.pairs;
    if (row.kind === 'images') return pairs.map(i => images[i]);
    if (row.kind === 'words') return pairs.map(i => words[i]);
    return pairs.flatMap(i => [images[i], words[i], images[i].map(() => null)]);
  });
}

function draw(from, to, share) {
  for (const plot of plots()) {
    const meta = plot.layout.meta;
    const last = meta.labels.length - 1;
    const rows = places(meta, Math.min(from, last), Math.min(to, last), share);
    const change = {};
    ['x', 'y', 'z'].slice(0, meta.dimensions).forEach((axis, i) => {
      change[axis] = rows.map(row => row.map(place => place[i]));
    });
    Plotly.restyle(plot, change, rows.map((_, i) => i));
  }
}

function go(to) {
  const from = at, mine = ++run, many = plots().some(plot => plot.layout.meta.pairs > 600);
  at = to;
  const slider = element.querySelector('input[type=range]');
  const meta = plots()[0] && plots()[0].layout.meta;
  slider.value = to;
  if (meta) {
    element.querySelector('output').textContent = meta.labels[to];
    slider.setAttribute('aria-valuetext', meta.labels[to]);
  }
  if (still || many || from === to) return draw(to, to, 0);
  const began = performance.now();
  const step = () => {
    if (mine !== run) return;
    const share = Math.min(1, (performance.now() - began) / 700);
    draw(from, to, share * share * (3 - 2 * share));
    if (share < 1) requestAnimationFrame(step);
  };
  step();
}

function pause() {
  clearInterval(timer);
  timer = null;
  const play = element.querySelector('[data-play]');
  if (play) play.textContent = '▶ Play';
}

function play() {
  if (timer) return pause();
  const last = Number(element.querySelector('input[type=range]').max);
  element.querySelector('[data-play]').textContent = '❚❚ Pause';
  const next = () => {
    if (at >= last) return pause();
    go(at + 1);
  };
  if (at >= last) go(0); else next();
  timer = setInterval(next, 1500);
}

function choose(pair) {
  chosen = pair;
  draw(at, at, 0);
}

element.addEventListener('click', event => {
  if (event.target.closest('[data-play]')) play();
});
element.addEventListener('input', event => {
  if (event.target.matches('input[type=range]')) {
    pause();
    go(Number(event.target.value));
  } else if (event.target.matches('[data-join]')) {
    joined = event.target.checked;
    for (const plot of plots()) Plotly.restyle(plot, {visible: joined}, [0]);
    draw(at, at, 0);
  }
});

// the picture that is pointed at, beside the pointer as soon as it has come, until the pointer moves away
function tip() {
  const box = element.querySelector('.pointed'), pair = document.querySelector('#space-pair');
  const picture = pair.querySelector('img'), text = pair.querySelector('b');
  if (!box || !pointer || !picture || !text) return;
  box.replaceChildren(picture.cloneNode(), text.cloneNode(true));
  box.hidden = false;
  box.style.left = `${Math.min(pointer.x + 18, innerWidth - box.offsetWidth - 8)}px`;
  box.style.top = `${Math.min(pointer.y + 30, innerHeight - box.offsetHeight - 8)}px`;
}

function hide() {
  pointer = null;
  const box = element.querySelector('.pointed');
  if (box) box.hidden = true;
}

document.addEventListener('mousemove', event => {
  [mouse.x, mouse.y] = [event.clientX, event.clientY];
  if (pointer && Math.hypot(mouse.x - pointer.x, mouse.y - pointer.y) > 14) hide();
});
document.addEventListener('scroll', hide, {capture: true, passive: true});

function listen(plot) {
  plot.pointing = true;
  const told = (event, wait) => {
    const point = event.points.find(p => Number.isInteger(p.customdata));
    if (!point) return;
    clearTimeout(plot.resting);
    plot.resting = setTimeout(() => {
      pointer = {...mouse};
      if (point.customdata === pointed) return tip();
      pointed = point.customdata;
      choose(pointed);
      trigger('click', {pick: String(pointed)});
    }, wait);
  };
  plot.on('plotly_click', event => told(event, 0));
  plot.on('plotly_hover', event => told(event, 350));
  plot.on('plotly_unhover', () => clearTimeout(plot.resting));
}

// plots appear, and are drawn anew at the first phase, after this script ran
setInterval(() => {
  for (const plot of plots()) {
    if (!plot.pointing) listen(plot);
    if (plot.shown === plot.layout.meta) continue;
    plot.shown = plot.layout.meta;
    if (joined !== null) Plotly.restyle(plot, {visible: joined}, [0]);
    if (at || chosen !== null) draw(at, at, 0);
  }
  const pair = document.querySelector('#space-pair');
  if (pair && !pair.observed) {
    pair.observed = new MutationObserver(() => pointer && tip());
    pair.observed.observe(pair, {childList: true, subtree: true});
  }
}, 300);

// for a pair that is chosen by its name
window.crosstalkPair = pair => {
  pointed = null;
  if (Number.isInteger(pair)) choose(pair);
};

// another space: from its beginning; what was moved or ticked by hand stays so until it is set back
watch('value', () => {
  pause();
  run++;
  at = 0;
  chosen = pointed = joined = null;
  hide();
  requestAnimationFrame(() => {
    const slider = element.querySelector('input[type=range]'), join = element.querySelector('[data-join]');
    if (slider) slider.value = 0;
    if (join) join.checked = join.defaultChecked;
  });
});
