// The search as one plain object, as an address, and as a request. It knows no element of the page.

/** Hits that are shown unless somebody wants more. */
export const FIRST = 24;

/**
 * A search: words, an item or a picture of one's own, and what narrows it.
 *   picture      number of a picture that was dropped in this tab; its bytes are never in an address
 *   blend        share of the words in a mix of words and picture, 0 to 1; as usual, the service weighs them
 *   spell        misspelt words are corrected
 *   fields       filters by name: {color: {is: "red"}, price: {min: "5", max: "20"}}
 *   where        a filter as an expression
 *   folder       only what lies in it
 *   since, until days between which a picture was taken
 *   sort         "score", or "date" for the newest first
 *   open         id of the item whose detail is open
 */
export const EMPTY = Object.freeze({
  q: "", item: null, picture: null, blend: 0.45, spell: false, index: null, kind: "", k: FIRST,
  minScore: 0, minProbability: 0, where: "", folder: "", since: "", until: "", sort: "score",
  fields: Object.freeze({}), open: null,
});

/** A search without any filter. */
export const NO_FILTERS = Object.freeze({ fields: {}, where: "", kind: "", folder: "", since: "", until: "" });

export const hasQuery = (state) => Boolean(state.q.trim() || state.item || state.picture);
export const isMix = (state) => Boolean(state.q.trim() && (state.item || state.picture));
/** Words behind a minus are to be kept away from. */
const MINUS = /(?:^|\s)[-\u2010-\u2015\u2212](?:["\u201c\u201e]|\p{L})/u;
/** Only words have match probabilities, without any to keep away from, and only pictures do. */
export const isWordsOnly = (state) => !state.item && !state.picture && state.kind !== "text" && !MINUS.test(state.q);

/** The part of an address after the "?", with nothing in it that is as usual. */
export function toAddress(state) {
  const address = new URLSearchParams();
  const add = (name, value, usual) => value !== usual && address.set(name, value);
  add("q", state.q, "");
  for (const name of ["item", "picture", "index", "open"]) if (state[name]) address.set(name, state[name]);
  add("blend", state.blend, EMPTY.blend);
  if (state.spell) address.set("spell", "1");
  add("kind", state.kind, "");
  add("k", state.k, FIRST);
  add("min_score", state.minScore, 0);
  add("min_probability", state.minProbability, 0);
  for (const name of ["where", "folder", "since", "until"]) add(name, state[name], "");
  add("sort", state.sort, EMPTY.sort);
  for (const [field, wish] of Object.entries(state.fields)) {
    for (const [what, value] of Object.entries(wish)) address.set(`${what}.${field}`, value);
  }
  return address.toString();
}

const DAY = /^\d{4}-\d\d-\d\d$/;

/** The search that an address says; what can't be understood is left out. */
export function fromAddress(text) {
  const address = new URLSearchParams(text);
  const number = (name, least, most, usual) => {
    const value = Number.parseFloat(address.get(name) ?? "");
    return Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : usual;
  };
  const fields = {};
  for (const [name, value] of address) {
    const found = /^(is|min|max)\.(.+)$/s.exec(name);
    if (found && value) fields[found[2]] = { ...fields[found[2]], [found[1]]: value };
  }
  return {
    ...EMPTY,
    q: address.get("q") ?? "",
    item: address.get("item"),
    picture: address.get("picture"),
    index: address.get("index"),
    open: address.get("open"),
    blend: number("blend", 0, 1, EMPTY.blend),
    spell: address.get("spell") === "1",
    kind: ["image", "text"].includes(address.get("kind")) ? address.get("kind") : "",
    k: Math.round(number("k", 1, 1000, FIRST)),
    minScore: number("min_score", -1, 1, 0),
    minProbability: number("min_probability", 0, 1, 0),
    where: address.get("where") ?? "",
    folder: address.get("folder") ?? "",
    since: DAY.test(address.get("since")) ? address.get("since") : "",
    until: DAY.test(address.get("until")) ? address.get("until") : "",
    sort: address.get("sort") === "date" ? "date" : EMPTY.sort,
    fields,
  };
}

const KEYWORDS = new Set("and or not in like between is null contains true false".split(" "));
/** Columns, as which a metadata key of that name would be read. Width and height are columns in the statistics too. */
const COLUMNS = new Set("id kind uri caption sha256 added_at".split(" "));
/** Whether a filter can name a field at all. */
export const canBeNamed = (field) => !/["\0]/.test(field);
/** A name of the statistics as a filter takes it: odd ones stand in double quotes. */
function named(field) {
  const plain = /^[A-Za-z_]\w*$/.test(field) && !KEYWORDS.has(field.toLowerCase()) && !COLUMNS.has(field);
  return plain ? field : `"${field}"`;
}
const quoted = (text) => `'${text.replaceAll("'", "''")}'`;
const isNumber = (text) => text?.trim() && Number.isFinite(Number(text));

/** All filters as one expression; "" for none. */
export function whereOf(state) {
  const parts = [];
  for (const [field, wish] of Object.entries(state.fields)) {
    if (!canBeNamed(field)) continue;
    if (wish.is) parts.push(`${named(field)} = ${quoted(wish.is)}`);
    if (isNumber(wish.min)) parts.push(`${named(field)} >= ${Number(wish.min)}`);
    if (isNumber(wish.max)) parts.push(`${named(field)} <= ${Number(wish.max)}`);
  }
  if (state.where.trim()) parts.unshift(parts.length ? `(${state.where.trim()})` : state.where.trim());
  return parts.join(" and ");
}

/** How many filters are set. */
export const filterCount = (state) =>
  Object.keys(state.fields).length + [state.where.trim(), state.kind, state.folder, state.since, state.until].filter(Boolean).length;

/** What narrows a search or a list, as the service takes it. */
function narrowed(state) {
  const where = whereOf(state);
  const { kind, folder, since, until } = state;
  return { ...(where && { where }), ...(kind && { kind }), ...(folder && { folder }), ...(since && { since }), ...(until && { until }) };
}

/** The path of the list of what passes the filters, those added last first. */
export const listPath = (state, index) =>
  `v1/items?${new URLSearchParams({ limit: state.k, index: index.name, ...narrowed(state) })}`;

/**
 * The request of a search: {path, body}, without a body for GET.
 * @param index what /v1/stats says of the index that is searched
 * @param picture the Blob of state.picture
 */
export function toRequest(state, index, picture, base64) {
  const options = { k: state.k, index: index.name, ...narrowed(state) };
  if (state.spell) options.spell = true;
  if (state.sort !== EMPTY.sort) options.sort = state.sort;
  if (!state.item && !state.picture) options.group = true; // more like this shows the other frames of a burst
  if (index.probabilities && isWordsOnly(state)) {
    if (state.minProbability > 0) options.min_probability = state.minProbability;
  } else if (state.minScore !== 0) options.min_score = state.minScore;

  const words = state.q.trim();
  if (isMix(state) && state.blend !== EMPTY.blend) {
    const shown = picture ? { image_base64: base64 } : { item: state.item };
    const mix = [{ query: words, weight: state.blend }, { ...shown, weight: 1 - state.blend }];
    return { path: "v1/search", body: { mix: mix.filter((part) => part.weight > 0), ...options } };
  }
  if (picture) {
    const body = new FormData();
    body.set("image", picture, "picture");
    if (words) body.set("q", words);
    for (const [name, value] of Object.entries(options)) body.set(name, String(value));
    return { path: "v1/search", body };
  }
  const asked = new URLSearchParams(options);
  if (words) asked.set("q", words);
  if (state.item) asked.set("item", state.item);
  return { path: `v1/search?${asked}` };
}
