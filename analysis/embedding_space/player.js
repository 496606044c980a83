// Plays the clouds through the phases, joins pairs, and tells which pair is pointed at. The figures' layout.meta holds
// the places of every pair in every phase; positions between two phases are only shown on the way, they mean nothing.
const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
const plots = () => ['#space-raw', '#space-aligned']
  .map(id => document.querySelector(`${id} .js-plotly-plot`))
  .filter(plot => plot && plot.layout && plot.layout.meta && plot.offsetParent);
let at = 0, chosen = null, timer = null, run = 0, pointed = null;

const between = (a, b, share) => a.map((place, i) => place.map((v, axis) => v + share * (b[i][axis] - v)));

function places(meta, from, to, share) {
  const images = between(meta.images[from], meta.images[to], share);
  const words = between(meta.words[from], meta.words[to], share);
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
    ['x', 'y', 'z'].slice(0, meta.images[0][0].length).forEach((axis, i) => {
      change[axis] = rows.map(row => row.map(place => place[i]));
    });
    Plotly.restyle(plot, change, rows.map((_, i) => i));
  }
}

function go(to) {
  const from = at, mine = ++run, many = plots().some(plot => plot.layout.meta.images[0].length > 600);
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
    for (const plot of plots()) Plotly.restyle(plot, {visible: event.target.checked}, [0]);
    draw(at, at, 0);
  }
});

// plots appear, and are replaced, after this script ran
setInterval(() => {
  for (const plot of plots()) {
    if (plot.pointing) continue;
    plot.pointing = true;
    const told = (event, wait) => {
      const point = event.points.find(p => Number.isInteger(p.customdata));
      if (!point || point.customdata === pointed) return;
      clearTimeout(plot.resting);
      plot.resting = setTimeout(() => {
        pointed = point.customdata;
        choose(pointed);
        trigger('click', {pick: String(pointed)});
      }, wait);
    };
    plot.on('plotly_click', event => told(event, 0));
    plot.on('plotly_hover', event => told(event, 350));
    plot.on('plotly_unhover', () => clearTimeout(plot.resting));
  }
}, 500);

// for a pair that is chosen by its name
window.crosstalkPair = pair => { if (Number.isInteger(pair)) choose(pair); };

// another space: from its beginning
watch('value', () => {
  pause();
  run++;
  at = 0;
  chosen = pointed = null;
});
