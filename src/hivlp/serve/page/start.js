// The page before any search: what is in the index, words to begin with, and a few of its pictures.

import { postJson } from "./api.js";
import { counted, element } from "./words.js";

/** Plain questions whose answers differ, so that the few pictures show what kinds of things there are. */
const QUESTIONS = ["people", "an animal", "a landscape", "a thing"];
const EACH = 6;
const EXAMPLES = 5;
const LONGEST = 64;

/** What the service finds for some plain questions, one of each in turn and none twice. */
export async function sample(index, signal) {
  const queries = QUESTIONS.map((query) => ({ query }));
  const { results } = await postJson("v1/search", { queries, k: EACH, index: index.name }, { signal });
  const found = new Map();
  for (let rank = 0; rank < EACH; rank += 1) {
    for (const { hits } of results) if (hits[rank]) found.set(hits[rank].id, hits[rank]);
  }
  return [...found.values()];
}

/** Fills the section; onSearch(words) is called for an example. */
export function tell(section, index, hits, onSearch) {
  const { image = 0, text = 0 } = index.kinds;
  const held = [image && counted(image, "picture"), text && counted(text, "text")].filter(Boolean).join(", ");
  const examples = examplesOf(hits);
  section.replaceChildren(
    element("h1", {}, index.items ? held : "Nothing here yet"),
    element("p", { class: "about" }, ...about(index)),
    ...(examples.length ? [suggestions(examples, onSearch)] : []),
    ...(hits.length ? [element("h2", {}, hits.length < index.items ? "A few of them" : "All of them")] : []),
  );
}

function about(index) {
  if (!index.items) return ["Add pictures with ", element("code", {}, "hivlp index FOLDER --out INDEX"), "; they appear here by themselves."];
  const levels = new Intl.ListFormat("en").format(index.levels.map(String));
  const bring = matchMedia("(pointer: coarse)").matches ? "choose" : "drop";
  return [`Describe what you look for, or ${bring} a picture${bring === "drop" ? " here" : ""}. Model ${fileLike(index.model)}, searched from coarse to fine (${levels} numbers).`];
}

const fileLike = (model) => model.split(/[\\/]/).filter(Boolean).pop() ?? model;

function suggestions(examples, onSearch) {
  const one = (words) => element("li", {}, element("button", { type: "button", class: "example", onclick: () => onSearch(words) }, words));
  return element("div", { class: "suggestions" }, element("h2", {}, "Try one of these"), element("ul", {}, ...examples.map(one)));
}

/** Short captions of what was found, each begun otherwise. */
function examplesOf(hits) {
  const chosen = new Map();
  for (const hit of hits) {
    const captions = [hit.caption, ...(Array.isArray(hit.meta?.captions) ? hit.meta.captions : [])];
    const fitting = captions
      .filter((caption) => typeof caption === "string")
      .map((caption) => caption.trim().replace(/[\s.]+$/, ""))
      .filter((caption) => caption.length <= LONGEST && caption.split(/\s+/).length >= 3);
    if (!fitting.length) continue;
    const words = fitting.reduce((best, other) => (other.length < best.length ? other : best));
    const begin = words.toLowerCase().split(/\s+/).slice(0, 3).join(" ");
    if (!chosen.has(begin)) chosen.set(begin, words);
    if (chosen.size === EXAMPLES) break;
  }
  return [...chosen.values()];
}
