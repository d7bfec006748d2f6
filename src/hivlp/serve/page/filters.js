// The filters that an index allows, as a form; what is set goes out as the part of a search that it is.

import { FIRST, NO_FILTERS, canBeNamed } from "./state.js";
import { count, element, shortened } from "./words.js";

const FIELDS_AT_FIRST = 8;
const SHOWN = [12, FIRST, 48, 96, 192, 384, 768];

export class Filters {
  /** onChange(part of a search, {typing}) */
  constructor(panel, onChange) {
    Object.assign(this, { panel, onChange, all: false });
  }

  /** Makes the form for an index and fills it with a search. */
  build(index, state, mostHits) {
    Object.assign(this, { index, state, mostHits });
    const useful = Object.entries(index.fields ?? {}).filter(([name, field]) => canBeNamed(name) && field.type !== "date" && isUseful(field));
    const shown = this.all ? useful : useful.slice(0, FIELDS_AT_FIRST);
    const controls = [this.#kind(), this.#folder(), this.#dates(), this.#order(), ...shown.map(([name, field]) => this.#field(name, field)), this.#shown()];
    const grid = element("div", { class: "fields" }, ...controls.filter(Boolean));
    const rest = useful.length - shown.length;
    const more = rest > 0 && element("button", { type: "button", class: "text-button", onclick: () => this.#showAll() }, `${rest} more`);
    const clear = element("button", { type: "button", class: "text-button", id: "filters-clear", onclick: () => this.onChange(NO_FILTERS) }, "Clear all");
    const foot = element("div", { class: "filters-foot" }, more || null, clear);
    this.panel.replaceChildren(this.panel.firstElementChild, grid, this.#expression(useful), foot);
  }

  /** Takes up a search that was made elsewhere, without touching what somebody is typing. */
  fill(state) {
    this.state = state;
    for (const control of this.panel.querySelectorAll("[data-value]")) {
      if (control !== document.activeElement) control.value = this.#value(control.dataset);
    }
  }

  /** Words about the expression, beside it; "" for none. */
  refuse(words) {
    const field = this.panel.querySelector("#where");
    const told = this.panel.querySelector("#where-error");
    if (!field) return;
    told.textContent = words;
    told.hidden = !words;
    field.setAttribute("aria-invalid", String(Boolean(words)));
  }

  #showAll() {
    this.all = true;
    this.build(this.index, this.state, this.mostHits);
  }

  #value({ value, field }) {
    if (value === "k") return String(this.state.k);
    return field ? (this.state.fields[field]?.[value] ?? "") : this.state[value];
  }

  #control(name, data, attributes, ...children) {
    const typing = name === "input";
    const made = element(name, { ...attributes, [typing ? "oninput" : "onchange"]: () => this.#set(made, typing) }, ...children);
    Object.assign(made.dataset, data);
    made.value = this.#value(data);
    return made;
  }

  #set(control, typing) {
    const { value, field } = control.dataset;
    if (value === "k") return this.onChange({ k: Number(control.value) });
    if (!field) return this.onChange({ [value]: control.value }, { typing });
    const wish = { ...this.state.fields[field], [value]: control.value };
    const left = Object.fromEntries(Object.entries(wish).filter(([, set]) => set !== ""));
    const fields = { ...this.state.fields, [field]: left };
    if (!Object.keys(left).length) delete fields[field];
    this.onChange({ fields }, { typing });
  }

  #kind() {
    const { image = 0, text = 0 } = this.index.kinds;
    if (!text || !image) return null;
    const choices = [["", "pictures and texts"], ["image", `pictures (${count(image)})`], ["text", `texts (${count(text)})`]];
    return labelled("Kind", this.#control("select", { value: "kind" }, {}, ...choices.map(option)));
  }

  #folder() {
    const folders = this.index.folders ?? [];
    if (!folders.length) return null;
    const list = element("datalist", { id: "folders" }, ...folders.map((name) => element("option", { value: name })));
    const field = this.#control("input", { value: "folder" }, { type: "text", list: "folders", placeholder: folders[0], spellcheck: "false", autocapitalize: "off" });
    const made = labelled("Folder", field);
    made.append(list);
    return made;
  }

  #dates() {
    const field = this.index.fields?.taken_at;
    if (!field) return null;
    const end = (value, words) =>
      this.#control("input", { value }, { type: "date", min: field.min, max: field.max, "aria-label": `Taken ${words}` });
    return element("div", { class: "field dates" }, element("span", { class: "name" }, "Taken"), element("span", { class: "ends" }, end("since", "on this day or later"), "–", end("until", "on this day or before")));
  }

  #order() {
    if (!this.index.fields?.taken_at) return null;
    return labelled("Order", this.#control("select", { value: "sort" }, {}, option(["score", "best first"]), option(["date", "newest first"])));
  }

  #field(name, field) {
    if (field.type === "number") return this.#range(name, field);
    const set = this.state.fields[name]?.is; // a link may name a value that the statistics have not seen
    const values = set && !field.values.includes(set) ? [set, ...field.values] : field.values;
    const choices = [["", "any"], ...values.map((value) => [value, shortened(value, 40)])];
    return labelled(name, this.#control("select", { value: "is", field: name }, {}, ...choices.map(option)));
  }

  #range(name, field) {
    const end = (value, words) =>
      this.#control("input", { value, field: name }, { type: "number", step: "any", inputmode: "decimal", placeholder: count(field[value]), "aria-label": `${name}, ${words}` });
    const ends = element("span", { class: "ends" }, end("min", "at least"), "–", end("max", "at most"));
    return element("div", { class: "field" }, element("span", { class: "name" }, name), ends);
  }

  #shown() {
    const choices = [...new Set([...SHOWN, this.mostHits, this.state.k])].filter((k) => k <= this.mostHits).sort((a, b) => a - b);
    return labelled("Results shown", this.#control("select", { value: "k" }, {}, ...choices.map((k) => option([k, count(k)]))));
  }

  #expression(useful) {
    const hint = example(useful);
    const field = this.#control("input", { value: "where" }, { id: "where", type: "text", placeholder: hint, spellcheck: "false", autocapitalize: "off", "aria-describedby": "where-error" });
    const error = element("p", { class: "refused", id: "where-error", role: "alert", hidden: true });
    const wide = labelled("Filter expression", field);
    wide.append(error);
    wide.classList.add("wide");
    return wide;
  }
}

const isUseful = (field) => (field.type === "number" ? field.min < field.max : (field.values ?? []).length > 1);
const option = ([value, words]) => element("option", { value }, words);

function labelled(name, control) {
  return element("label", { class: "field" }, element("span", { class: "name" }, name), control);
}

function example(useful) {
  const text = useful.find(([, field]) => field.type === "text");
  if (text) return `${text[0]} in ('${text[1].values[0]}') and not caption like '%dog%'`;
  return "caption like '%dog%' and not caption like '%cat%'";
}
