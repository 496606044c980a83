// Gradio's base points to where the page is anyway. With one, Plotly names what its charts are clipped by with the
// whole address: as soon as that changes, marks are no longer drawn.
document.querySelector('base')?.remove();

// Keeps the address a link to what is shown, once what it asked for is.
window.crosstalk = (key, value) => {
  if (!crosstalk.ready) return;
  if (value) here.searchParams.set(key, value); else here.searchParams.delete(key);
  history.replaceState({place: crosstalk.place()}, '', here);
};
const here = new URL(location);  // what is shown, at whatever step of the history one is
addEventListener('popstate', ({state}) => { if (state?.place) crosstalk.go(state.place, false); });
Object.assign(crosstalk, {
  linked: new URL(location).searchParams,  // what the page was opened with
  input: {},                // model, checkpoint, question and picture, as they stand on the left
  touched: false,           // whether the visitor has put something of her own there
  chosen: {},               // values of controls by section, kept while a section is not on the page
  forms: new Map(),         // section -> {element, trigger}, once it is
  opened: {},               // section -> the input that it was last opened for
  guesses: {},              // section -> {guess, measured, asks}
  uncovered: new Set(),
  pressed: new Set(),       // sections whose button was pressed
});
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const ident = place => place.replace('/', '-');
const panelOf = place => document.getElementById(`section-${ident(place)}`);
const formOf = place => find('form.controls', crosstalk.forms.get(place).element);
const placeOf = element => {
  const panel = element.closest('[id^="section-"][role="tabpanel"]');
  return panel && find('form.controls', panel)?.dataset.place;
};

// Which input a result is of, as a short text: other inputs have others.
crosstalk.turn = of => {
  const {model, checkpoint, question, picture} = crosstalk.input;
  const parts = {set: [], model: [model, checkpoint], picture: [picture]};
  const text = JSON.stringify(parts[of] ?? [model, checkpoint, question, picture]);
  let hash = 7;
  for (const letter of text) hash = (hash * 31 + letter.codePointAt(0)) % 2147483647;
  return String(hash);
};
crosstalk.put = (part, value, key) => {
  const before = crosstalk.input[part], now = part === 'picture' ? value?.url ?? value?.path ?? '' : value;
  crosstalk.input[part] = now;
  if (crosstalk.ready && before !== now) {
    if (['picture', 'question'].includes(part)) forget();
    dimmed();  // at once, not with the next look
  }
  if (key !== undefined) crosstalk(part, key);
};
// What was said of another picture or question says nothing of this one.
const forget = () => {
  for (const [place, {element}] of crosstalk.forms) {
    for (const box of all('[data-passing]', element).filter(b => b.value)) {
      crosstalk.set(place, {[box.name]: ''});
      crosstalk(`${place.split('/')[1]}.${box.name}`, '');
    }
  }
};
crosstalk.own = () => { crosstalk.touched = true; };

// ---- Places: rooms and sections ----
crosstalk.place = () => crosstalk.here ?? 'overview/now';
// Another room or section is a step in the history that the browser's Back takes; a control that is changed is none.
crosstalk.go = (place, steps = true) => {
  const known = all('#nav [data-go]').map(b => b.dataset.go);
  if (!place.includes('/')) place = crosstalk.last?.[place] ?? known.find(p => p.startsWith(`${place}/`));
  if (!known.includes(place)) return false;
  const room = place.split('/')[0];
  if (steps && crosstalk.ready && ![undefined, place].includes(crosstalk.here)) history.pushState({place}, '', here);
  crosstalk.here = place;
  crosstalk.last = {...crosstalk.last, [room]: place};
  document.getElementById(`section-${ident(place)}-button`)?.click();
  for (const button of all('#nav [data-go]')) {
    const on = button.dataset.go === place || button.dataset.room === room;
    button.setAttribute('aria-current', on ? 'page' : 'false');
  }
  for (const row of all('#nav .sections')) row.hidden = row.dataset.of !== room || row.children.length < 2;
  find('#nav .rooms [aria-current="page"]')?.scrollIntoView({block: 'nearest', inline: 'nearest'});
  find('#nav .sections:not([hidden]) [aria-current="page"]')?.scrollIntoView({block: 'nearest', inline: 'nearest'});
  document.body.dataset.room = room;
  crosstalk('tab', room === 'overview' ? '' : room);
  crosstalk('section', place.split('/')[1] === known.find(p => p.startsWith(`${room}/`)).split('/')[1] ? '' : place.split('/')[1]);
  return true;
};
crosstalk.step = by => {
  const places = all('#nav .sections [data-go]').map(b => b.dataset.go);
  const next = places[places.indexOf(crosstalk.place()) + by];
  if (next) { crosstalk.go(next); scrollTo({top: 0}); }
};

// ---- Forms: the controls of a section ----
const fields = form => {
  const found = {};
  for (const box of all('[data-name]', form)) {
    const name = box.dataset.name, boxes = all('input, select', box);
    if (boxes[0]?.type === 'radio') found[name] = boxes.find(b => b.checked)?.value ?? '';
    else if (boxes[0]?.dataset.switch !== undefined) found[name] = boxes[0].checked;
    else if (find('.chips', box)) found[name] = boxes.filter(b => b.checked).map(b => b.value);
    else found[name] = boxes[0]?.value ?? '';
  }
  return found;
};
const setField = (form, name, value) => {
  const box = find(`[data-name="${CSS.escape(name)}"]`, form);
  if (!box) return null;
  const list = Array.isArray(value) ? value.map(String) : String(value).split(',');
  for (const b of all('input, select', box)) {
    if (b.type === 'radio') b.checked = b.value === String(value);
    else if (b.dataset.switch !== undefined) b.checked = String(value) === 'true';
    else if (b.type === 'checkbox') b.checked = list.includes(b.value);
    else if (b.tagName === 'SELECT') { if ([...b.options].some(o => o.value === String(value))) b.value = String(value); }
    else b.value = String(value);
    if (b.type === 'range') shownRange(b);
  }
  return box;
};
const shownRange = range => { const out = find('output', range.parentElement); if (out) out.textContent = range.value + out.dataset.unit; };
const written = value => Array.isArray(value) ? value.join(',') : String(value);

// ---- Orders: what an event asks for ----
// Of events that had to wait, Gradio runs the last with the data of the first. So an event carries no data: what it
// asks for waits here, is put together with what comes meanwhile, and is taken when the event is sent. One that is lost,
// as happens where the run before it fails, is given again.
const orders = new Map();  // name -> {asked, give, given}
crosstalk.order = (name, asked, give, ripe = () => true) => {
  const waits = orders.get(name) ?? {asked: {}, given: 0};
  const changed = [...waits.asked.changed ?? [], ...asked.changed ?? []];
  orders.set(name, Object.assign(waits, {asked: {...waits.asked, ...asked, changed}, give, ripe}));
  if (!waits.given) given(waits);
};
const given = waits => {
  if (!waits.ripe()) return;
  waits.given = Date.now();
  waits.give();
};
crosstalk.taken = name => {
  const {asked = null} = orders.get(name) ?? {};
  orders.delete(name);
  return asked;
};
crosstalk.later = name => { if (orders.has(name)) orders.get(name).given = 0; };
crosstalk.waiting = () => [...orders.keys()];
setInterval(() => {
  for (const waits of orders.values()) if (Date.now() - waits.given > 2000) given(waits);
}, 200);
// A press takes back what is still on its way for its section, and Stop what runs; of an event that has no number yet,
// Gradio would ask the server to take back nothing. The server is asked as soon as the number is there, and Gradio hears
// no more of that event.
const joined = new Map();  // handler -> its last event
const fetched = window.fetch;
window.fetch = async (where, how) => {
  const url = String(where.url ?? where), body = /\/(queue\/join|cancel|reset)(\?|$)/.test(url) ? JSON.parse(how.body) : {};
  if (/\/upload(\?|$)/.test(url)) return sending(fetched(where, how));
  if (url.includes('/queue/join')) {
    const event = {};
    joined.set(body.fn_index, event);
    const answer = await fetched(where, how);
    event.number = (await answer.clone().json().catch(() => ({}))).event_id;
    if (!event.back) return answer;
    if (event.number) event.back();
    return new Promise(() => {});
  }
  if (body.event_id !== null) return fetched(where, how);
  const event = joined.get(body.fn_index);
  const back = () => fetched(where, {...how, body: JSON.stringify({...body, event_id: event.number})});
  if (event?.number) return back();
  if (event) event.back = back;
  return Response.json({});
};
const ordered = (place, kind, asked = {}) => {
  const {trigger} = crosstalk.forms.get(place);
  const event = {change: 'input', open: 'select', run: asked.opened ? 'select' : 'submit'}[kind];
  crosstalk.order(`${kind} ${place}`, asked, () => trigger(event, {}), () => !choosing());
};
// What a section's handler gets: the input as it is sent, and in the form's place what is asked of it.
crosstalk.send = (name, input) => {
  const asked = choosing() ? crosstalk.later(name) : crosstalk.taken(name);
  const [kind, place] = name.split(' '), form = formOf(place);
  crosstalk.took(...input);
  const turn = crosstalk.turn(form.dataset.of);
  if (kind !== 'change') crosstalk.opened[place] = turn;
  if (kind === 'run' && asked) stopped.delete(place);
  input[6] = asked && {values: crosstalk.chosen[place] ?? {}, turn, offers: form.dataset.offers, ...asked};
  return input;
};

// Gradio puts the form on the page anew where its choices changed: what was chosen, or linked to, is put back.
crosstalk.form = (element, trigger) => {
  const taken = () => {
    const form = find('form.controls', element);
    if (!form || form.taken) return;
    form.taken = true;
    const place = form.dataset.place, first = !crosstalk.forms.has(place);
    crosstalk.forms.set(place, {element, trigger});
    if (first) {
      crosstalk.chosen[place] = {...fromLink(form, place), ...crosstalk.chosen[place]};
      for (const [name, value] of Object.entries(crosstalk.chosen[place])) setField(form, name, value);
      for (const box of all('[data-shared]', form)) {
        if (crosstalk.shared?.[box.dataset.name] !== undefined) {
          crosstalk.chosen[place][box.dataset.name] = crosstalk.shared[box.dataset.name];
          setField(form, box.dataset.name, crosstalk.shared[box.dataset.name]);
        }
      }
    }
    // What was linked to stays, even where it is not on offer yet, and what was chosen while the form was on its way;
    // what the server has decided otherwise than it was sent is taken.
    if (first) crosstalk.chosen[place] = {...fields(form), ...crosstalk.chosen[place]};
    else {
      const decided = JSON.parse(form.dataset.decided);
      for (const [name, value] of Object.entries(crosstalk.chosen[place])) if (!decided.includes(name)) setField(form, name, value);
      crosstalk.chosen[place] = {...crosstalk.chosen[place], ...fields(form)};
      if (element.at && document.activeElement === document.body) {
        const [name, value] = element.at, same = all(`[data-name="${CSS.escape(name)}"] :is(input, select)`, form);
        (same.find(b => ['radio', 'checkbox'].includes(b.type) && b.value === value) ?? same[0])?.focus({preventScroll: true});
      }
    }
    restoreGuess(place);
  };
  taken();
  new MutationObserver(taken).observe(element, {childList: true, subtree: true});
  element.addEventListener('focusin', event => {  // drawn anew, the form gives the focus back
    const box = event.target.closest('[data-name]');
    element.at = box && [box.dataset.name, event.target.value];
  });
  element.addEventListener('submit', event => {
    event.preventDefault();
    crosstalk.pressed.add(event.target.dataset.place);
    crosstalk.start(event.target.dataset.place, {pressed: true});
  });
  element.addEventListener('input', event => { if (event.target.type === 'range') shownRange(event.target); });
  element.addEventListener('change', event => {
    const box = event.target.closest('[data-name]'), form = event.target.closest('form.controls');
    if (!box || !form) return;
    const most = Number(find('.chips', box)?.dataset.most ?? 0);
    if (most && all('input:checked', box).length > most) { event.target.checked = false; return; }
    crosstalk.changed(form.dataset.place, box.dataset.name);
  });
};
// Names in links: section.control, or all.control where sections share it; those of the first version stood alone.
const ofPage = ['model', 'checkpoint', 'example', 'question', 'scene', 'tab'];  // that are no section's
const fromLink = (form, place) => {
  const found = {};
  for (const box of all('[data-name]', form)) {
    const name = box.dataset.name;
    const alone = ofPage.includes(name) ? null : crosstalk.linked.get(name);
    const text = crosstalk.linked.get(`${place.split('/')[1]}.${name}`) ?? crosstalk.linked.get(`all.${name}`) ?? alone;
    if (text !== null) found[name] = text;
  }
  for (const [name, text] of Object.entries(found)) addressed(form, place, name, text);
  if (Object.keys(found).length) {
    crosstalk.fromLink = {...crosstalk.fromLink, [place]: true};
    crosstalk.uncovered.add(place);  // who sends such a link means what it shows
  }
  return found;
};
crosstalk.changed = (place, name) => {
  const {element} = crosstalk.forms.get(place), form = find('form.controls', element);
  const values = crosstalk.chosen[place] = {...crosstalk.chosen[place], ...fields(form)};
  const box = find(`[data-name="${CSS.escape(name)}"]`, form);
  addressed(form, place, name, values[name]);
  if (box.dataset.shared !== undefined) {
    crosstalk.shared = {...crosstalk.shared, [name]: values[name]};
    for (const [other, at] of crosstalk.forms) {
      const theirs = find('form.controls', at.element);
      if (other !== place && theirs && setField(theirs, name, values[name])) {
        crosstalk.chosen[other][name] = values[name];
        delete crosstalk.opened[other];
        otherwise(other, theirs, name);
      }
    }
  }
  otherwise(place, form, name);
  if (box.dataset.at === 'run') crosstalk.start(place);
  else ordered(place, 'change', {changed: [name]});
};
crosstalk.start = (place, asked) => {
  crosstalk.opened[place] = crosstalk.turn(formOf(place).dataset.of);
  started.set(place, runOf(place));
  ordered(place, 'run', {...asked, opened: false});
  working();
};
// Between a press and what comes of it, the pressed button says that something is under way: a busy server may be silent.
const runOf = place => find('.told', panelOf(place))?.dataset.run;
const started = new Map();  // section -> the run whose result stood there
const working = () => {
  for (const [place, run] of started) if (runOf(place) !== run) started.delete(place);
  for (const place of crosstalk.forms.keys()) panelOf(place)?.classList.toggle('working', started.has(place));
  document.body.classList.toggle('working', choosing() || started.has(crosstalk.place()));
};
// Where it is not what a page starts with, a control's value stands in the address; that of one which sections share
// always, as they may start with another each.
const addressed = (form, place, name, value) => {
  const text = written(value), box = find(`[data-name="${CSS.escape(name)}"]`, form);
  if (!ofPage.includes(name)) crosstalk(name, '');  // what a link of the first version said is no longer so
  if (box?.dataset.shared !== undefined) crosstalk(`all.${name}`, text);
  else crosstalk(`${place.split('/')[1]}.${name}`, text === JSON.parse(form.dataset.first)[name] ? '' : text);
};
crosstalk.set = (place, values) => {
  const form = formOf(place);
  const boxes = Object.entries(values).map(([name, value]) => {
    if (written(crosstalk.chosen[place][name] ?? '') !== written(value)) otherwise(place, form, name);
    crosstalk.chosen[place][name] = value;
    addressed(form, place, name, value);
    return setField(form, name, value);
  });
  return boxes.filter(Boolean);
};
// One value after another, until the last, or until the button is pressed again.
let playing = null;
const play = (place, name) => {
  const boxes = () => all(`[data-name="${CSS.escape(name)}"] input`, find('form.controls', panelOf(place)));
  const stop = () => {
    clearInterval(playing.timer);
    panelOf(playing.place)?.classList.remove('playing');
    playing = null;
  };
  if (playing) return stop();
  const step = from => {
    const next = boxes()[from];
    if (!next || crosstalk.place() !== place) return stop();
    crosstalk.set(place, {[name]: next.value});
    crosstalk.changed(place, name);
  };
  const at = () => boxes().findIndex(b => b.checked);
  playing = {place, timer: setInterval(() => step(at() + 1), 1500)};
  panelOf(place).classList.add('playing');
  step(at() + 1 < boxes().length ? at() + 1 : 0);
};
crosstalk.stopper = (element, trigger) => {
  element.addEventListener('click', event => {
    if (!event.target.closest('[data-stop]')) return;
    const place = placeOf(event.target);
    stopped.add(place);
    started.delete(place);
    orders.delete(`run ${place}`);
    trigger('click', {});
  });
};
const stopped = new Set();  // sections whose run was told to stop
// Gradio tells of a run that was stopped as failed, too, once or twice: that must not wipe what Stop says. What stood
// there before stays what it was.
crosstalk.failed = (place, shown) => {
  started.delete(place);
  return stopped.has(place) ? '' : shown;
};
// A control stands otherwise than what was measured with it, or files were given or taken away: what that run has
// found, drawn anew or still to come, is of an earlier input.
const overtaken = new Set();
const otherwise = (place, form, name) => {
  const box = find(`[data-name="${CSS.escape(name)}"]`, form);
  if (box && box.dataset.at !== 'draw') crosstalk.outdated(place);
};
crosstalk.outdated = place => {
  overtaken.add(runOf(place));
  dimmed();  // at once, not with the next look
};

// ---- The picture: the visitor's last choice counts, in whatever order things arrive ----
// What the server makes of a choice (an example, a scene, a picture of one's own) arrives out of sight, together with
// what is known about it and the choice's number. It is put on the page unless another was chosen meanwhile; what is
// asked of a section waits for it, and is asked about what has arrived, not about what the widget may show already.
let clock = 0;  // numbers choices, and files as they begin to be sent
let wanted = {number: 0, since: 0};  // the last choice; since when it is the visitor's
let arrived = -1;
const sent = new Map();  // where a file lies on the server: the number it has
const choosing = () => wanted.number !== arrived;
const sending = answer => {
  const number = clock += 1;
  return answer.then(async told => {
    const paths = told.ok ? await told.clone().json() : [];
    for (const path of paths) sent.set(path, number);
    return told;
  });
};
// The page chooses, too: that is no later than what the visitor has chosen before it.
crosstalk.pick = (choice, next = () => {}, since) => {
  const number = clock += 1;
  if (since === undefined) crosstalk.own();
  wanted = {number, since: since ?? number, next, typed: false};
  crosstalk.order('picture', {choice: {...choice, number}}, crosstalk.choose, () => crosstalk.ready);
};
crosstalk.choice = () => {
  const {own = null, ...choice} = crosstalk.taken('picture')?.choice ?? {};
  return [own, choice];
};
crosstalk.arrived = (picture, about) => {
  if (!choosing() || (about.number && about.number !== wanted.number)) return [];  // 0: what the address names
  crosstalk.put('picture', picture);
  for (const key of ['example', 'scene']) crosstalk(key, about[key]);
  for (const b of all('#gallery [data-example]')) b.setAttribute('aria-pressed', b.dataset.example === about.example);
  return [picture, wanted.typed ? undefined : about.question ?? undefined];
};
crosstalk.settled = (about, question) => {
  if (about.number !== wanted.number || !choosing()) return;
  arrived = about.number;
  crosstalk.put('question', question);
  wanted.next();
};
// Nothing came of it: what was there stays.
crosstalk.failing = picture => {
  if (!orders.has('picture')) arrived = wanted.number;
  return picture;
};
// The widget has changed: a file of the visitor's has come there, or it could not be sent.
crosstalk.held = (file, picture) => {
  const since = sent.get(file?.path);
  if (file?.path === picture?.path) return;
  if (since > wanted.since) { crosstalk.own(); crosstalk.pick({own: file}, undefined, since); }
  else if (!choosing()) return picture;
};

// ---- The input on the left ----
crosstalk.bar = (element, trigger) => {
  crosstalk.choose = () => trigger('click', {});
  element.addEventListener('click', event => {
    const hit = event.target.closest('[data-example]');
    if (hit) crosstalk.pick({example: hit.dataset.example}, askedAbout);
  });
};
crosstalk.suggestions = (element, trigger) => element.addEventListener('click', event => {
  const hit = event.target.closest('[data-ask]');
  if (!hit) return;
  typed();
  crosstalk.suggested = hit.textContent;
  trigger('click', {});
});
// A question of the visitor's own: that of an example which is still on its way comes too late.
const typed = () => { crosstalk.own(); wanted.typed = true; };
document.addEventListener('input', event => { if (event.target.closest('#question')) typed(); }, true);
const askedAbout = () => { if (!wanted.typed) crosstalk.ask(); };
crosstalk.took = (...input) => ['model', 'checkpoint', 'picture', 'question'].forEach((part, i) => crosstalk.put(part, input[i]));
crosstalk.asked = (...input) => { crosstalk.own(); crosstalk.took(...input); crosstalk.ask(); };
// Ask, and Enter: the section one is in runs for the input; one that is of no input says where the answer is.
crosstalk.ask = () => {
  const place = crosstalk.place(), form = find('form.controls', crosstalk.forms.get(place)?.element ?? document.body);
  find('#bar')?.classList.remove('unfolded');
  if (['input', 'picture'].includes(form?.dataset.of) && find('.run', form)) { crosstalk.pressed.add(place); crosstalk.start(place); }
  else if (find('#asked-note')) find('#asked-note').hidden = false;
};

// A view that a result has not drawn, as it is still on its way, is of the result that drew it last.
const dimmed = () => {
  for (const told of all('.told')) {
    const {run, turn, of, keeps} = told.dataset;
    const older = by => overtaken.has(by.run) || by.turn !== crosstalk.turn(of);
    told.classList.toggle('older', older({run, turn}));
    for (const view of all('.block.view', told.closest('[role="tabpanel"]'))) {
      if (!keeps.split(' ').includes(view.id)) view.by = {run, turn};
      view.classList.toggle('older', Boolean(view.by && view.textContent.trim()) && older(view.by));
    }
  }
};

// ---- Looking: what came into view is opened, what belongs to another input is dimmed ----
crosstalk.look = () => {
  if (!crosstalk.ready) return;
  const place = crosstalk.place(), at = crosstalk.forms.get(place);
  dimmed();
  working();
  strip();
  refocused();
  for (const fold of all('.foot details, form.controls details')) if (unfolded.has(foldOf(fold))) fold.open = true;
  if (!at || !at.element.isConnected || choosing()) return;
  const form = find('form.controls', at.element), turn = crosstalk.turn(form.dataset.of);
  settle(place);
  follow(place);
  const never = crosstalk.opened[place] === undefined;
  if (!never && (crosstalk.opened[place] === turn || form.dataset.quick === undefined)) return;
  if (never && !crosstalk.touched && form.dataset.example && crosstalk.input.shown !== form.dataset.example + form.dataset.question) {
    crosstalk.input.shown = form.dataset.example + form.dataset.question;
    crosstalk.pick({example: form.dataset.example, question: form.dataset.question}, undefined, wanted.since);
    return;
  }
  if (!never && typing()) return;  // a question that is being typed is not measured letter by letter
  crosstalk.opened[place] = turn;
  if (orders.has(`run ${place}`)) return;  // which is sent with the input as it is then
  ordered(place, form.dataset.quick === undefined ? 'open' : 'run', {opened: true, linked: Boolean(crosstalk.fromLink?.[place])});
  if (crosstalk.fromLink) delete crosstalk.fromLink[place];
};
// A view that is drawn anew takes the focus with it: the same button there gets it back.
const refocused = () => {
  const {place, text, until} = crosstalk.refocus ?? {};
  if (!place) return;
  if (document.activeElement === document.body) {
    all('[data-set]', panelOf(place)).find(b => b.dataset.set === text)?.focus({preventScroll: true});
  }
  if (Date.now() > until) crosstalk.refocus = null;
};
// What is drawn anew is folded again; what the visitor has unfolded stays so.
const unfolded = new Set();
const foldOf = fold => `${placeOf(fold)} ${find('summary', fold)?.textContent}`;
document.addEventListener('click', event => {
  const fold = event.target.closest('.foot summary, form.controls summary')?.parentElement;
  if (fold) unfolded[fold.open ? 'delete' : 'add'](foldOf(fold));
});
// Of clicks that come faster than answers one may be lost: what is drawn is asked for again until it is what is chosen.
let followed = {};
const follow = place => {
  const shows = JSON.parse(find('.told:not(.older)', panelOf(place))?.dataset.shows ?? '{}'), chosen = crosstalk.chosen[place] ?? {};
  const name = Object.keys(shows).find(name => name in chosen && written(chosen[name]) !== shows[name]);
  const wanted = name && `${place} ${name} ${written(chosen[name])}`;
  if (!wanted) { followed = {}; return; }
  if (followed.wanted !== wanted) followed = {wanted, since: Date.now(), times: 0};
  if (Date.now() - followed.since < 1500 || followed.times > 2) return;
  followed = {wanted, since: Date.now(), times: followed.times + 1};
  ordered(place, 'change', {changed: [name]});
};
const typing = () => document.activeElement?.closest('#question') != null;
setInterval(crosstalk.look, 200);

// ---- Predict, then run ----
// The result stays covered until a guess or "just show me"; a guess is held against the next result, and stays.
const restoreGuess = place => {
  const panel = panelOf(place), box = panel && find('.prediction', panel);
  if (!box) return;
  const {guess, measured} = crosstalk.guesses[place] ?? {};
  for (const b of all('[data-guess]', box)) b.setAttribute('aria-pressed', Boolean(guess) && b.dataset.guess === guess);
  panel.classList.toggle('covered', !crosstalk.uncovered.has(place));
  const out = find('output', box);
  const text = !guess ? '' : measured === undefined ? `You predicted “${guess}”.`
    : measured === guess ? `You predicted “${guess}”, and so it is.` : `You predicted “${guess}”; measured: “${measured}”.`;
  if (out.textContent !== text) out.textContent = text;
  out.className = measured === undefined || !guess ? '' : measured === guess ? 'right' : 'wrong';
};
const settle = place => {
  const panel = panelOf(place), told = panel && find('.told:not(.older)', panel), kept = crosstalk.guesses[place];
  if (told?.dataset.outcome && kept?.guess && kept.measured === undefined && kept.of !== told.dataset.run) {
    kept.measured = told.dataset.outcome;
    kept.of = told.dataset.run;
    kept.turn = told.dataset.turn;
  } else if (kept?.measured !== undefined && told && kept.of !== told.dataset.run && kept.turn === told.dataset.turn
      && ['', kept.measured].includes(told.dataset.outcome)) {
    // the same once more, or not decided yet: what was guessed, and what came, stays
    if (told.dataset.outcome) kept.of = told.dataset.run;
  } else if (kept?.measured !== undefined && kept.of !== find('.told', panel)?.dataset.run) {
    crosstalk.told.push([...crosstalk.title(place), kept.asks, kept.guess, kept.measured].join('\u0000'));
    delete crosstalk.guesses[place];  // that one was about an earlier result
  }
  restoreGuess(place);
};
crosstalk.told = [];
crosstalk.title = place => [find(`#nav .sections [data-go="${place}"]`)?.dataset.title ?? place];
crosstalk.predicted = () => [
  ...crosstalk.told.map(text => text.split('\u0000')),
  ...Object.entries(crosstalk.guesses).filter(([, g]) => g.measured !== undefined)
    .map(([place, g]) => [...crosstalk.title(place), g.asks, g.guess, g.measured]),
];

// ---- Clicks that mean the same everywhere ----
const choose = (place, element) => {
  const boxes = crosstalk.set(place, JSON.parse(element.dataset.set));
  if (boxes.length) crosstalk.changed(place, boxes[0].dataset.name);
};
// A mark of a chart whose layout names a control (layout.meta.set) sets it to what the mark is called (customdata).
setInterval(() => {
  for (const chart of all('.js-plotly-plot')) {
    if (!chart.layout?.meta?.set || chart.pointed) continue;
    chart.pointed = true;
    chart.on('plotly_click', ({points}) => {
      const name = chart.layout.meta.set, mark = points.find(p => p.customdata !== undefined), place = placeOf(chart);
      if (mark && crosstalk.set(place, {[name]: mark.customdata}).length) crosstalk.changed(place, name);
    });
  }
}, 500);
// The charts in view. Where all are folded away, which are drawn once they are unfolded, these.
const charted = async place => {
  const charts = () => all('.js-plotly-plot', panelOf(place)).filter(chart => chart.offsetWidth);
  if (charts().length) return charts();
  const folds = all('[id$="-fold"] > button', panelOf(place)).filter(button => button.offsetWidth);
  for (const fold of folds) fold.click();
  const until = Date.now() + 10000, waited = () => new Promise(done => setTimeout(done, 300));
  do await waited(); while (charts().length < folds.length && Date.now() < until);
  return charts();
};
document.addEventListener('click', async event => {
  const hit = selector => event.target.closest(selector);
  if (hit('.skip')) { event.preventDefault(); find('#nav button').focus(); return; }
  const go = hit('[data-go]');
  if (go?.dataset.keep !== undefined) crosstalk.own();  // what is next is about the same input, not about an example
  if (go?.dataset.set) choose(placeOf(go), go);
  if (go) { crosstalk.go(go.dataset.go); if (go.closest('#nav') === null) scrollTo({top: 0}); return; }
  if (hit('#bar-strip')) { find('#bar').classList.toggle('unfolded'); return; }
  if (hit('#strip-ask')) { crosstalk.own(); crosstalk.ask(); return; }
  const guess = hit('[data-guess]'), place = placeOf(event.target);
  if (guess && place) {
    crosstalk.uncovered.add(place);
    if (guess.dataset.guess) {
      const shown = find('.told:not(.older)', panelOf(place));
      const seen = shown && !panelOf(place).classList.contains('covered');
      // what is seen already is no prediction: that one waits for the next result
      crosstalk.guesses[place] = {guess: guess.dataset.guess, asks: guess.closest('.prediction').dataset.asks, of: seen ? shown.dataset.run : null};
    }
    settle(place);
    return;
  }
  const tried = hit('[data-try]');
  if (tried && place) {
    crosstalk.own();
    const run = () => {
      const boxes = crosstalk.set(place, JSON.parse(tried.dataset.set));
      const form = find('form.controls', panelOf(place));
      crosstalk.pressed.add(place);
      if (find('.run', form) && (form.dataset.quick !== undefined || form.dataset.of === 'input')) crosstalk.start(place);
      else if (boxes.length) crosstalk.changed(place, boxes[0].dataset.name);
    };
    if (tried.dataset.example) crosstalk.pick({example: tried.dataset.example, question: tried.dataset.question}, run);
    else run();
    return;
  }
  const set = hit('[data-set]');
  if (hit('[data-play]') && place) { play(place, hit('[data-name]').dataset.name); return; }
  if (set && place) {
    choose(place, set);
    crosstalk.refocus = {place, text: set.dataset.set, until: Date.now() + 4000};
    if (set.dataset.to) document.getElementById(`${ident(place)}-${set.dataset.to}`)?.scrollIntoView({block: 'nearest', behavior: 'smooth'});
    return;
  }
  const save = hit('[data-save]');
  if (save && place) {
    save.closest('details').open = false;
    const charts = save.dataset.save === 'png' ? await charted(place) : [];
    if (charts.length) {
      charts.forEach((chart, i) => Plotly.downloadImage(chart, {
        format: 'png', scale: 2, width: chart.offsetWidth, height: chart.offsetHeight, filename: `crosstalk-${ident(place)}-${i + 1}`,
      }));
    } else crosstalk.saver({kind: save.dataset.save, places: [place]});
    return;
  }
  if (hit('#tour')) tour(0);
  if (hit('[data-tour]')) tour(hit('[data-tour]').dataset.tour === '1' ? crosstalk.tourAt + 1 : Infinity);
  if (hit('#present')) crosstalk.present(!crosstalk.presenting());
  if (hit('#copy-link')) crosstalk.copy();
  if (hit('#report')) listed();
  if (hit('#report-save')) {
    const places = all('#report-list input:checked').map(box => box.value);
    find('#report-dialog').close();
    crosstalk.saver({kind: 'report', places, predicted: crosstalk.predicted()});
  }
  const lesson = hit('#lesson');
  if (lesson) find('#lessons')?.classList.toggle('shown');
  if (hit('[data-close]')) { find('#lessons')?.classList.remove('shown'); hit('dialog')?.close(); }
});

// ---- The tour: places, and what to look at there ----
const tour = at => {
  const card = find('#tour-card');
  const steps = JSON.parse(card.dataset.steps);
  card.hidden = at >= steps.length;
  crosstalk.tourAt = at;
  if (card.hidden) return;
  find('span', card).textContent = `${at + 1} of ${steps.length}: ${steps[at][1]}`;
  crosstalk.go(steps[at][0]);
  crosstalk.uncovered.add(crosstalk.place());  // it tells what to look at
  scrollTo({top: 0});
};

// ---- The report: what has a result is listed, what was pressed is ticked ----
const listed = () => {
  const rows = all('#nav .sections [data-go]').map(b => b.dataset.go).filter(place => find('.told', panelOf(place) ?? document.createElement('i')));
  find('#report-list').innerHTML = rows.map(place => {
    const ticked = crosstalk.pressed.has(place) || !rows.some(p => crosstalk.pressed.has(p));
    return `<label><input type="checkbox" value="${place}"${ticked ? ' checked' : ''}> ${crosstalk.title(place)[0]}</label>`;
  }).join('') || '<p>Nothing was measured yet.</p>';
  find('#report-dialog').showModal();
};

// ---- Presenting ----
crosstalk.presenting = () => document.documentElement.classList.contains('presenting');
crosstalk.present = on => {
  document.documentElement.classList.toggle('presenting', on);
  find('#present')?.setAttribute('aria-pressed', on);
  crosstalk('present', on ? '1' : '');
  dispatchEvent(new Event('resize'));  // charts take the new room
  crosstalk.letters();
};
// Letters of charts in pixels. Those that are drawn anew, or later, get theirs with the next look.
crosstalk.letters = () => {
  const size = crosstalk.presenting() ? 19 : 14;
  for (const chart of all('.js-plotly-plot')) {
    if (!chart._fullLayout || !chart.offsetWidth || chart._fullLayout.font.size === size) continue;
    const titles = Object.keys(chart._fullLayout).filter(key => /^[xy]axis\d*$/.test(key));
    Plotly.relayout(chart, Object.fromEntries([
      ['font.size', size], ...titles.map(axis => [`${axis}.title.font.size`, size]),
    ]));
  }
};
setInterval(crosstalk.letters, 700);
if (crosstalk.linked.get('present') === '1') crosstalk.present(true);
document.addEventListener('keydown', event => {
  if (!crosstalk.presenting() || event.target.closest('input, textarea, select, dialog, [role="slider"]')) return;
  if (event.key === 'Escape') crosstalk.present(false);
  if (event.key === 'ArrowRight') crosstalk.step(1);
  if (event.key === 'ArrowLeft') crosstalk.step(-1);
});

// A picture of the visitor's own stays here: no link can carry it.
crosstalk.copy = async () => {
  const own = find('#picture img') && find('#suggestions [data-own]');
  try {
    await navigator.clipboard.writeText(location.href);
  } catch {  // no permission, or an address without https
    const box = document.body.appendChild(document.createElement('textarea'));
    box.value = location.href;
    box.select();
    document.execCommand('copy');
    box.remove();
  }
  const told = find('#copied');
  told.textContent = own ? 'Copied. Your own picture is not in the link.' : 'Copied.';
  setTimeout(() => { told.textContent = ''; }, 6000);
};

// ---- The strip of a phone: the input in one line, which unfolds ----
const strip = () => {
  const line = find('#bar-strip');
  if (!line || !line.offsetParent) return;
  const src = find('#picture img')?.src ?? '', img = find('img', line);
  if (img.src !== src) { img.src = src; img.hidden = !src; }
  const text = crosstalk.input.question || 'Choose a picture and a question';
  if (find('b', line).textContent !== text) find('b', line).textContent = text;
  const by = crosstalk.input.checkpoint ?? '';
  if (find('small', line).textContent !== by) find('small', line).textContent = by;
};

// ---- The scene composer ----
crosstalk.composer = (element, trigger) => {
  const told = () => all('select', element).map(s => s.value);
  const filled = () => {  // the menus of further drawings offer what those of the first do
    for (const menu of all('[data-like]', element)) {
      const chosen = menu.value, like = all('select', element)[menu.dataset.like];
      delete menu.dataset.like;
      menu.innerHTML = like.innerHTML;
      menu.value = chosen;
    }
  };
  filled();
  new MutationObserver(filled).observe(element, {childList: true, subtree: true});
  element.addEventListener('change', () => crosstalk.pick({scene: told().join('~')}));
  element.addEventListener('click', event => {
    if (event.target.closest('[data-surprise]')) crosstalk.pick({surprise: true}, askedAbout);
  });
};

// ---- At the start: the place that the address names, once its panel is there ----
// Settings of the first version's links, which named no section, by the section that has them now.
const former = {
  row: 'forgetting/matrix', set: 'forgetting/matrix', dose: 'interference/dose', explain: 'interference/why',
  'change-text': 'interference/one', 'change-image': 'interference/one', sentence: 'interference/one',
  spot: 'attention/heads', attention: 'attention/heads', trained: 'embedding_space/map', drawn: 'embedding_space/map',
  dimensions: 'embedding_space/map', style: 'embedding_space/lost',
};
// What the link said and is nothing here leaves the address. Settings of the first version's links do, too: the section
// that has one puts it there again under its name of now.
const tidied = () => {
  const parts = all('#composer option').map(o => o.value), menus = all('#composer select').length;
  const sections = ['all', ...all('#nav .sections [data-go]').map(b => b.dataset.go.split('/')[1])];
  const holds = {
    __proto__: null, tab: () => true, section: () => true, question: () => true, present: value => value === '1',
    model: value => value === crosstalk.input.model, checkpoint: value => value === crosstalk.input.checkpoint,
    example: value => find(`#gallery [data-example="${CSS.escape(value)}"]`),
    scene: value => value.split('~').length === menus && value.split('~').every(part => parts.includes(part)),
  };
  for (const [key, value] of [...crosstalk.linked]) {
    const [section, control] = key.split('.');
    const there = holds[key]?.(value) ?? (key.startsWith('__') || (control && sections.includes(section)));
    if (!there) crosstalk(key, '');
  }
};
crosstalk.begin = (...input) => {
  crosstalk.took(...input);
  arrived = 0;
  crosstalk.ready = true;
  tidied();
  const tab = crosstalk.linked.get('tab'), section = crosstalk.linked.get('section');
  const old = Object.keys(former).find(key => crosstalk.linked.has(key));
  if (['example', 'question', 'scene', 'checkpoint'].some(key => crosstalk.linked.has(key))) {
    crosstalk.own();
    if (!tab) crosstalk.go('ask');
  }
  if (tab) {
    (section && crosstalk.go(`${tab}/${section}`)) || (old && former[old].startsWith(`${tab}/`) && crosstalk.go(former[old]))
      || crosstalk.go(tab === 'start' ? 'overview' : tab) || crosstalk.go('overview');
  } else if (crosstalk.place() === 'overview/now') crosstalk.go('overview');
  document.documentElement.classList.add('begun');
};

// A word of the glossary is explained where it stands first: in a sentence, in a paragraph beside a chart, in a lesson.
crosstalk.explained = new WeakSet();
crosstalk.explain = () => {
  const spelt = Object.keys(crosstalk.words).sort((a, b) => b.length - a.length);
  const either = spelt.map(word => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
  for (const block of all('p.sentence, .sentence p, p.key, p.about, .foot p, .lesson .prose')) {
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
