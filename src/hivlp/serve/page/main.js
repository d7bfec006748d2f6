// The page: it keeps the search, its address and what is shown in step, and leaves the rest to its parts.

import { ApiError, Unreachable, getJson, hasKey, itemPath, postJson, setKey } from "./api.js";
import { Detail } from "./detail.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { base64 } from "./pictures.js";
import { listenToHelp, listenToTheme } from "./look.js";
import { Problems } from "./problems.js";
import { Chip, acceptPictures, pictureOf } from "./query.js";
import { EMPTY, FIRST, NO_FILTERS, filterCount, fromAddress, hasQuery, isMix, isWordsOnly, listPath, toAddress, toRequest } from "./state.js";
import { Status } from "./status.js";
import { sample, tell } from "./start.js";
import { count, element, fileName, inPercent, percent, sentence, title } from "./words.js";

const DEBOUNCE_MS = 80;
/** After so long without a key, the next one begins a new entry of the history. */
const PAUSE_MS = 1500;

const $ = (id) => document.getElementById(id);
let state = { ...EMPTY };
let stats = null;
let running = null; // AbortController of the one request whose answer counts
let shown = { answer: null, asked: "" };
let lastTyped = Number.NEGATIVE_INFINITY;
let timer = 0;
const items = new Map(); // what is known of items that were searched with

const status = new Status({ line: $("status"), bar: $("stages"), live: $("live") });
const problems = new Problems($("notice"), { again, askKey });
const grid = new Grid($("results"), {
  onOpen: open, onLike: like, onLeave: () => $("words").focus(), linkTo: (hit) => `?${toAddress({ ...state, open: hit.id })}`,
});
const filters = new Filters($("filters"), go);
const chip = new Chip({ chip: $("chip"), img: $("chip-picture"), name: $("chip-name"), drop: $("chip-drop") }, () => {
  go({ item: null, picture: null });
  $("words").focus();
});
const detail = new Detail($("detail"), { onMove: move, onLike: like, onBut: (hit, q) => like(hit, q), onClose: closed });

const index = () => stats.indexes.find((one) => one.name === state.index) ?? stats.indexes[0];
const leastIsProbability = () => index().probabilities && isWordsOnly(state);

/** Changes the search: its address, what is shown of it, and then its answer. */
function go(change, { typing = false } = {}) {
  const now = performance.now();
  const write = typing && now - lastTyped < PAUSE_MS ? "replaceState" : "pushState";
  if (typing) lastTyped = now;
  state = { ...state, ...change };
  remember(write);
  draw();
  clearTimeout(timer);
  if (typing) timer = setTimeout(search, DEBOUNCE_MS);
  else search();
}

function remember(write, entry = null) {
  const address = toAddress(state);
  history[write](entry, "", address ? `?${address}` : location.pathname);
  document.title = state.q.trim() ? `${state.q.trim()} · HiVLP` : "HiVLP";
}

/** Everything that shows the search itself. */
function draw() {
  if ($("words").value !== state.q) $("words").value = state.q;
  const picture = pictureOf(state.picture);
  if (picture) chip.picture(picture);
  else if (state.item) drawItem(state.item);
  else chip.none();
  $("words").placeholder = picture || state.item ? "but with these words …" : "Describe a picture";
  $("blend-knob").hidden = !isMix(state);
  $("blend").value = state.blend;
  drawLeast();
  const set = filterCount(state);
  $("filters-count").textContent = set ? ` ${set}` : "";
  filters.fill(state);
}

async function drawItem(id) {
  const known = items.get(id);
  chip.item(id, index().name, known ? title(known) : fileName(id), known?.kind);
  if (known) return;
  items.set(id, { id });
  const item = await getJson(itemPath(id, index().name)).catch(() => null);
  if (!item) return;
  items.set(id, item);
  if (state.item === id) draw();
}

function drawLeast() {
  const likely = leastIsProbability();
  const value = likely ? state.minProbability : state.minScore;
  const told = value > 0 ? (likely ? percent(value) : value.toFixed(2)) : "any";
  $("least-name").textContent = likely ? "Match at least" : "Score at least";
  $("least").value = value;
  $("least").setAttribute("aria-valuetext", told);
  $("least-value").textContent = told;
}

/** Asks for the answer to the search as it is now; the answers to all earlier ones are of no use any more. */
async function search() {
  clearTimeout(timer);
  running?.abort();
  if (!hasQuery(state)) return begin();
  const mine = (running = new AbortController());
  const asked = toAddress({ ...state, open: null });
  if (asked === shown.asked) return settle(mine, showOpen);
  wait(true);
  try {
    const picture = pictureOf(state.picture)?.blob;
    const { path, body } = toRequest(state, index(), picture, picture && isMix(state) ? await base64(picture) : null);
    const { signal } = mine;
    const answer = await (body ? postJson(path, body, { signal }) : getJson(path, { signal }));
    settle(mine, () => paint(answer, asked));
  } catch (error) {
    if (error.name !== "AbortError") settle(mine, () => refuse(error));
  }
}

/** Does what an answer is for, unless a newer search has begun since. */
function settle(mine, act) {
  if (mine !== running) return;
  wait(false);
  act();
}

function wait(is) {
  status.waiting(is);
  $("results").classList.toggle("waiting", is);
  $("results").setAttribute("aria-busy", String(is));
}

function paint(answer, asked) {
  const grown = shown.answer && sameButMore(shown.asked, asked);
  shown = { answer, asked };
  problems.none();
  filters.refuse("");
  $("start").hidden = true;
  grid.show(answer.hits, index().name);
  $("results").dataset.shown = asked;
  drawNothing(answer);
  drawMore(answer.hits.length);
  const picture = state.picture ? ["the link does not include your picture"] : [];
  status.answer(answer, picture, button("Search for that", { spell: true }));
  if (!grown && window.scrollY > 0) window.scrollTo(0, 0);
  showOpen();
}

const button = (words, change) => element("button", { type: "button", class: "text-button", onclick: () => go(change) }, words);

const asFirst = (address) => toAddress({ ...fromAddress(address), k: FIRST });
const sameButMore = (before, after) => asFirst(before) === asFirst(after);

function drawNothing({ hits, notes }) {
  $("nothing").hidden = hits.length > 0;
  if (hits.length) return;
  const ways = [];
  if (leastIsProbability() ? state.minProbability > 0 : state.minScore > 0) {
    ways.push(button("Show the nearest all the same", { minScore: 0, minProbability: 0 }));
  }
  if (filterCount(state)) ways.push(button("Search without the filters", NO_FILTERS));
  const told = notes.map((note) => element("p", {}, sentence(inPercent(note.replace(/^nothing found: /i, "")))));
  $("nothing").replaceChildren(element("h2", {}, "Nothing found"), ...told, element("p", { class: "ways" }, ...ways));
}

function drawMore(found) {
  const most = stats.limits?.k ?? 1000;
  const next = Math.min(most, state.k * 2);
  $("more").hidden = found < state.k || next <= state.k;
  $("more").textContent = `Show ${count(next - state.k)} more`;
}

/** The page without a search: what is here, or what passes the filters. */
async function begin() {
  const mine = (running = new AbortController());
  wait(false);
  shown = { answer: null, asked: "" };
  $("nothing").hidden = $("more").hidden = true;
  const filtered = filterCount(state) > 0;
  let hits = [];
  let passed = 0;
  try {
    if (filtered) ({ items: hits, total: passed } = await getJson(listPath(state, index()), { signal: mine.signal }));
    else if (index().items) hits = await sample(index(), mine.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    settle(mine, () => refuse(error));
  }
  settle(mine, () => {
    if (hits.length) problems.none();
    filters.refuse("");
    status.words(filtered ? `${count(passed)} pass${passed === 1 ? "es" : ""} the filters, the newest first` : "");
    if (!filtered) tell($("start"), index(), hits, (q) => go({ q }));
    $("start").hidden = filtered;
    if (filtered) drawMore(hits.length);
    grid.show(hits, index().name, { sample: true });
    $("results").dataset.shown = "";
    showOpen();
  });
}

function refuse(error) {
  if (!(error instanceof ApiError) && !(error instanceof Unreachable)) throw error;
  if (error.code === "bad_filter") {
    problems.none();
    toggleFilters(true);
    filters.refuse(error.message);
    return status.words(`The filter is not understood${shown.answer ? "; these are the previous results" : ""}`);
  }
  problems.tell(error);
  if (error instanceof Unreachable) status.words("No answer");
}

/** Repeats what failed. */
function again() {
  if (!stats) return load();
  shown.asked = "";
  return search();
}

// More like this, and one picture large

function like(hit, q = "") {
  items.set(hit.id, hit);
  const { index: name, fields, where, kind, folder, since, until, sort, k } = state;
  state = { ...EMPTY, index: name, fields, where, kind, folder, since, until, sort, k };
  detail.close();
  go({ item: hit.id, q });
}

const openable = () => grid.hits;

function open(hit) {
  if (state.open === hit.id) return;
  const write = state.open ? "replaceState" : "pushState";
  state = { ...state, open: hit.id };
  remember(write, { opened: write === "pushState" || history.state?.opened });
  showDetail(hit);
}

function showDetail(hit) {
  const at = openable().findIndex((one) => one.id === hit.id);
  const place = at < 0 ? null : { rank: at + 1, of: openable().length };
  const answered = shown.answer && at >= 0;
  const { score, ...unscored } = hit;
  detail.show(answered && score !== undefined ? hit : unscored, { index: index().name, place, levels: index().levels, plan: shown.answer?.plan });
}

/** What the address says is open, also where it is not among the results. */
async function showOpen() {
  const id = state.open;
  if (!id) return detail.close();
  if (detail.hit?.id === id) return;
  const hit = openable().find((one) => one.id === id) ?? (await getJson(itemPath(id, index().name)).catch(() => null));
  if (state.open !== id) return;
  if (hit) showDetail(hit);
  else problems.say(`The item ${id} is not in this index any more.`);
}

function move(step) {
  const at = openable().findIndex((one) => one.id === state.open);
  const hit = at < 0 ? undefined : openable()[at + step];
  if (hit) open(hit);
}

/** The dialog was closed: by a person where the address still says open, else because of the address. */
function closed(hit) {
  if (state.open) {
    state = { ...state, open: null };
    if (history.state?.opened) history.back();
    else remember("replaceState");
  }
  if (hit) grid.focusItem(hit.id);
}

// Wiring

function toggleFilters(is = $("filters").hidden) {
  $("filters").hidden = !is;
  $("filters-toggle").setAttribute("aria-expanded", String(is));
}

/** Closes the filters, and leaves the focus where keys are commands and not letters. */
function closeFilters() {
  toggleFilters(false);
  $("filters-toggle").focus();
}

function askKey() {
  if (hasKey()) $("key-text").textContent = "That key was not accepted. Check it for missing letters, or ask for another one.";
  if (!$("key").open) $("key").showModal();
}

function chooseIndex() {
  const names = stats.indexes.map((one) => one.name);
  const choice = document.querySelector(".index-choice");
  choice.hidden = names.length < 2;
  $("index-name").textContent = names.length < 2 ? names[0] : "";
  $("index").replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  $("index").value = index().name;
}

/** Takes up the search that the address says: at the start, and on Back and Forth. */
function fromHere() {
  const before = state.index;
  state = fromAddress(location.search);
  const lost = state.picture && !pictureOf(state.picture);
  const missing = stats.indexes.some((one) => one.name === state.index) ? null : state.index;
  if (lost) state = { ...state, picture: null };
  if (missing) state = { ...EMPTY, q: state.q };
  if (lost || missing) remember("replaceState");
  chooseIndex();
  if (before !== state.index || !filters.index) filters.build(index(), state, stats.limits?.k ?? 1000);
  document.title = state.q.trim() ? `${state.q.trim()} · HiVLP` : "HiVLP";
  draw();
  search().then(() => {
    if (missing) problems.say(`The link names the index “${missing}”, which is not here. These pictures are from ${index().name}.`);
    else if (lost) problems.say("This search was made with a picture that the link can't hold. Drop or paste it here again.");
  });
}

async function load() {
  try {
    const told = await getJson("v1/stats");
    if (!told.indexes.length) await getJson("readyz"); // it may not have looked into its indexes yet
    stats = told;
  } catch (error) {
    return refuse(error);
  }
  problems.none();
  if (!stats.indexes.length) return problems.say("This service has no index. Start it with hivlp serve INDEX.");
  fromHere();
  // Where a keyboard would cover half of the page, it waits until somebody asks for it.
  if (!hasQuery(state) && !state.open && matchMedia("(pointer: fine)").matches) $("words").focus();
}

$("words").addEventListener("input", () => stats && go({ q: $("words").value, spell: false }, { typing: true }));
$("words").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" && grid.hits.length) grid.focus(grid.current);
  else if (event.key === "Escape") go({ q: "", item: null, picture: null });
  else return;
  event.preventDefault();
});
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  if (stats) search();
});
$("least").addEventListener("input", () => {
  const name = leastIsProbability() ? "minProbability" : "minScore";
  go({ [name]: Number($("least").value) }, { typing: true });
});
$("blend").addEventListener("input", () => go({ blend: Number($("blend").value) }, { typing: true }));
$("more").addEventListener("click", () => go({ k: Math.min(stats.limits?.k ?? 1000, state.k * 2) }));
$("filters-toggle").addEventListener("click", () => toggleFilters());
$("index").addEventListener("change", () => {
  const { q, picture, k } = state;
  state = { ...EMPTY, q, picture, k };
  shown.asked = "";
  go({ index: $("index").value });
  filters.build(index(), state, stats.limits?.k ?? 1000);
});
$("home").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (stats) go({ ...EMPTY, index: state.index });
});
listenToTheme($("theme"));
listenToHelp($("help"), $("help-open"));
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($("key-field").value);
  $("key-field").value = "";
  $("key").close();
  again();
});
$("key").addEventListener("close", () => {
  if (!hasKey()) problems.say("This service needs a key. Load the page again to give one.");
});
$("filters").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  event.preventDefault();
  closeFilters();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea") && event.target.type !== "range";
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "/") $("words").select();
  else if (event.key === "?") $("help").showModal();
  else if (event.key === "f") toggleFilters();
  else if (event.key === "Escape" && !$("filters").hidden) closeFilters();
  else return;
  event.preventDefault();
});
window.addEventListener("popstate", () => stats && fromHere());
acceptPictures({ choose: $("choose"), file: $("file"), overlay: $("drop") }, {
  onPicture: (picture) => stats && go({ picture, item: null, minScore: 0 }),
  onRefused: (words) => problems.say(words),
});
load();
