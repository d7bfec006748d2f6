// The results: a list of frames whose places are known before their pictures are. It asks the service nothing.

import { justified, neighbour } from "./layout.js";
import { release, show, thumbnailPath } from "./pictures.js";
import { count, element, percent, score, shortened, title } from "./words.js";

const TEXT_RATIO = 1.3;
const UNKNOWN_RATIO = 4 / 3;

export class Grid {
  /** @param list the <ol>; onOpen(hit) and onLike(hit) are called for what somebody does; linkTo(hit) is its address. */
  constructor(list, { onOpen, onLike, onLeave, linkTo }) {
    Object.assign(this, { list, onOpen, onLike, onLeave, linkTo, hits: [], placed: [], current: 0, frames: new Map() });
    list.addEventListener("click", (event) => this.#clicked(event));
    list.addEventListener("keydown", (event) => this.#pressed(event));
    list.addEventListener("focusin", (event) => this.#entered(event));
    new ResizeObserver(() => this.layout()).observe(list);
  }

  /**
   * Shows hits in the place of those before; frames that stay keep their pictures.
   * @param sample true where the hits are no answers, so that ranks and scores would say nothing
   */
  show(hits, index, { sample = false } = {}) {
    const focused = this.list.contains(document.activeElement) ? this.hits[this.current]?.id : null;
    const frames = new Map();
    for (const hit of hits) {
      const name = `${index} ${hit.id}`;
      const frame = this.frames.get(name) ?? madeFrame(hit);
      describe(frame, hit, sample);
      frame.querySelector(".frame").href = this.linkTo(hit);
      frames.set(name, frame);
    }
    for (const [name, frame] of this.frames) {
      if (!frames.has(name)) frame.querySelectorAll("img").forEach(release);
    }
    Object.assign(this, { hits, index, frames });
    this.list.classList.toggle("sample", sample);
    this.list.replaceChildren(...frames.values());
    this.current = Math.max(0, hits.findIndex((hit) => hit.id === focused));
    this.layout();
    if (focused !== null && hits.length) this.focus(this.current);
    this.#mark();
  }

  /** Places the frames; called by itself when the width changes. */
  layout() {
    const width = Math.floor(this.list.getBoundingClientRect().width); // clientWidth rounds up
    if (!width || !this.hits.length) return;
    const style = getComputedStyle(this.list);
    const gap = Number.parseFloat(style.columnGap) || 0;
    const height = Number.parseFloat(style.getPropertyValue("--row")) || 220;
    this.placed = justified(this.hits.map(ratio), width, height, gap);
    this.#frames().forEach((frame, place) => this.#put(frame, this.hits[place], this.placed[place]));
  }

  /** Moves the focus to a place, and with it what Tab comes back to. */
  focus(place) {
    if (!this.hits.length) return;
    this.current = Math.min(Math.max(place, 0), this.hits.length - 1);
    this.#mark();
    this.#frames()[this.current].querySelector(".frame").focus();
  }

  /** Moves the focus to an item, where it is here. */
  focusItem(id) {
    const place = this.hits.findIndex((hit) => hit.id === id);
    if (place >= 0) this.focus(place);
  }

  #frames() {
    return [...this.list.children];
  }

  #put(frame, hit, { width, height }) {
    const box = frame.querySelector(".box");
    frame.style.width = `${width}px`;
    box.style.height = `${height}px`;
    const img = box.querySelector("img");
    if (!img) return;
    const missing = () => box.classList.add("missing");
    show(img, thumbnailPath(hit.id, this.index, Math.max(width, height)), missing);
  }

  #mark() {
    this.#frames().forEach((frame, place) => {
      frame.querySelector(".frame").tabIndex = place === this.current ? 0 : -1;
    });
  }

  #place(event) {
    return this.#frames().indexOf(event.target.closest(".hit"));
  }

  #entered(event) {
    const place = this.#place(event);
    if (place < 0 || place === this.current) return;
    this.current = place;
    this.#mark();
  }

  #clicked(event) {
    const hit = this.hits[this.#place(event)];
    // Then the browser opens the link, in a tab or a window of its own.
    if (!hit || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.onOpen(hit);
  }

  #pressed(event) {
    const at = this.#place(event);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = {
      ArrowRight: () => at + 1,
      ArrowLeft: () => at - 1,
      ArrowDown: () => neighbour(this.placed, at, 1) ?? at,
      ArrowUp: () => neighbour(this.placed, at, -1),
      Home: () => 0,
      End: () => this.hits.length - 1,
    }[event.key];
    if (to) {
      const place = to();
      if (place === null) this.onLeave();
      else this.focus(place);
    } else if (event.key === "m") this.onLike(this.hits[at]);
    else if (event.key === "Escape") this.onLeave();
    else return;
    event.preventDefault();
  }
}

const ratio = (hit) => {
  if (hit.kind === "text") return TEXT_RATIO;
  if (!hit.width || !hit.height) return UNKNOWN_RATIO;
  return Math.min(2.4, Math.max(0.55, hit.width / hit.height));
};

function madeFrame(hit) {
  const box = element("span", { class: `box ${hit.kind}` });
  if (hit.kind === "image") box.append(element("img", { alt: "", loading: "lazy", decoding: "async", draggable: "false" }));
  box.append(element("span", { class: "inside", "aria-hidden": "true" }, shortened(title(hit), 220)));
  const link = element("a", { class: "frame", tabindex: "-1", draggable: "false" }, box);
  link.append(element("span", { class: "line" }), element("span", { class: "caption" }));
  return element("li", { class: "hit" }, link);
}

function describe(frame, hit, sample) {
  frame.dataset.id = hit.id;
  const likely = hit.rank === 1 ? (hit.probability ?? null) : null; // it is about the index, by its best hit
  const line = sample ? [] : [
    element("span", { class: "rank" }, count(hit.rank)),
    element("span", { class: "score" }, score(hit.score)),
    likely === null ? null : element("span", { class: "match" }, `match ${percent(likely)}`),
    hit.similar?.length ? element("span", { class: "similar" }, `+${count(hit.similar.length)} near-equal`) : null,
  ];
  frame.querySelector(".line").title = sample ? "" : `rank, score${likely === null ? "" : ", the estimated chance that the index has a picture of this"}`;
  frame.querySelector(".line").replaceChildren(...line.filter(Boolean));
  frame.querySelector(".caption").textContent = hit.kind === "image" ? title(hit) : "";
  const match = likely === null ? "" : `, match ${percent(likely)}`;
  const more = hit.similar?.length ? `, and ${count(hit.similar.length)} near-equal` : "";
  const told = sample ? "" : `, score ${score(hit.score)}${match}${more}`;
  const what = hit.kind === "text" ? "Text: " : "";
  frame.querySelector(".frame").setAttribute("aria-label", `${sample ? "" : `${hit.rank}. `}${what}${title(hit)}${told}`);
}
