// One picture, large, with what the index says of it and how it was found.

import { hasKey, itemPath } from "./api.js";
import { release, show, source, thumbnailPath } from "./pictures.js";
import { count, element, fileName, icon, percent, score, shown, title } from "./words.js";

const CALM_MS = 200; // a larger picture is asked for when somebody stays on it
const SMALL = 640;
const SWIPE_PX = 60;

export class Detail {
  /** onMove(step), onLike(hit), onBut(hit, words) and onClose() are called for what somebody does. */
  constructor(dialog, actions) {
    Object.assign(this, { dialog, actions, hit: null, timer: 0, original: null });
    dialog.addEventListener("keydown", (event) => this.#pressed(event));
    dialog.addEventListener("close", () => this.#closed());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    this.#listenToSwipes();
  }

  get isOpen() {
    return this.dialog.open;
  }

  /**
   * @param hit an answer, or an item without scores
   * @param place {rank, of} among the results, or null
   * @param levels widths of the index, plan what found it
   */
  show(hit, { index, place, levels, plan }) {
    const kept = this.dialog.open ? document.activeElement?.dataset.step : null;
    this.#drop();
    this.hit = hit;
    this.dialog.replaceChildren(this.#stage(hit, index), this.#side(hit, index, place, levels, plan));
    if (!this.dialog.open) this.dialog.showModal();
    const step = kept && this.dialog.querySelector(`[data-step="${kept}"]:not(:disabled)`);
    (step || this.dialog.querySelector(".close")).focus();
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  #closed() {
    this.#drop();
    const hit = this.hit;
    this.hit = null;
    this.actions.onClose(hit);
  }

  #drop() {
    clearTimeout(this.timer);
    this.dialog.querySelectorAll("img").forEach(release);
    if (this.original?.startsWith("blob:")) URL.revokeObjectURL(this.original);
    this.original = this.enlarge = null;
  }

  #stage(hit, index) {
    const stage = element("div", { class: `stage-area ${hit.kind}` });
    if (hit.kind === "text") {
      stage.append(element("blockquote", {}, hit.caption ?? ""));
      return stage;
    }
    const img = element("img", { alt: title(hit), draggable: "false" });
    if (hit.width && hit.height) {
      Object.assign(img, { width: hit.width, height: hit.height });
      // A small picture is shown at most twice as large: more would only show its blocks.
      Object.assign(img.style, { maxWidth: `${2 * hit.width}px`, maxHeight: `${2 * hit.height}px` });
    }
    img.title = "Full size (z)";
    img.addEventListener("click", () => this.#zoom());
    stage.append(img, element("p", { class: "gone" }, "The picture itself is not there any more."));
    show(img, thumbnailPath(hit.id, index, SMALL / 2), () => stage.classList.add("missing"));
    const larger = itemPath(hit.id, index, "thumbnail", { size: 1280 });
    if (!(Math.max(hit.width, hit.height) <= SMALL)) this.timer = setTimeout(() => this.#sharpen(img, hit, larger), CALM_MS);
    this.enlarge = () => this.#sharpen(img, hit, itemPath(hit.id, index, "original"));
    return stage;
  }

  /** The picture at its own size, to be scrolled; the file is fetched for that, and only then. */
  #zoom() {
    const stage = this.dialog.querySelector(".stage-area");
    if (!stage || !this.enlarge) return;
    clearTimeout(this.timer);
    if (stage.classList.toggle("zoomed")) this.enlarge();
  }

  #listenToSwipes() {
    let from = null;
    this.dialog.addEventListener("touchstart", ({ touches, target }) => {
      const held = touches.length === 1 && target.closest(".stage-area:not(.zoomed)");
      from = held ? { x: touches[0].clientX, y: touches[0].clientY } : null;
    }, { passive: true });
    this.dialog.addEventListener("touchend", ({ changedTouches: [end] }) => {
      if (!from) return;
      const [across, along] = [end.clientX - from.x, end.clientY - from.y];
      if (Math.abs(across) > SWIPE_PX && Math.abs(across) > 2 * Math.abs(along)) this.actions.onMove(across < 0 ? 1 : -1);
      from = null;
    }, { passive: true });
  }

  /** A sharper picture in the place of the thumbnail, once it is there; some kinds of files no browser shows. */
  async #sharpen(img, hit, path) {
    try {
      const address = await source(path);
      const large = new Image();
      large.src = address;
      await large.decode();
      if (this.hit !== hit) throw new Error("left");
      if (this.original?.startsWith("blob:")) URL.revokeObjectURL(this.original);
      this.original = address;
      release(img);
      img.src = address;
      img.classList.add("loaded");
    } catch {
      // The thumbnail is still there.
    }
  }

  #side(hit, index, place, levels, plan) {
    const side = element("div", { class: "side" });
    side.append(
      this.#bar(place),
      element("h2", { id: "detail-title", class: hit.kind === "text" ? "unseen" : "" }, title(hit)),
      ...otherCaptions(hit),
      this.#wishes(hit),
      ...(hit.score === undefined ? [] : [scores(hit, levels, plan)]),
      facts(hit),
      ...(hit.kind === "image" ? [this.#originalLink(hit, index)] : []),
    );
    return side;
  }

  #bar(place) {
    const button = (step, name, label, disabled) =>
      element("button", { type: "button", class: "tool", "data-step": step, "aria-label": label, title: label, disabled, onclick: () => this.actions.onMove(Number(step)) }, icon(name));
    const moves = place
      ? [element("span", { class: "place" }, `${count(place.rank)} of ${count(place.of)}`), button("-1", "back", "Previous", place.rank === 1), button("1", "forth", "Next", place.rank === place.of)]
      : [];
    const close = element("button", { type: "button", class: "tool close", "aria-label": "Close", title: "Close (Esc)", onclick: () => this.dialog.close() }, icon("close"));
    return element("div", { class: "side-bar" }, ...moves, close);
  }

  #wishes(hit) {
    const words = element("input", { type: "text", "aria-label": "This one, but with other words", placeholder: "This one, but …", enterkeyhint: "search" });
    const form = element("form", { class: "but" }, words, element("button", { type: "submit", class: "text-button" }, "Search"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (words.value.trim()) this.actions.onBut(hit, words.value.trim());
      else words.focus();
    });
    const like = element("button", { type: "button", class: "text-button strong", onclick: () => this.actions.onLike(hit) }, "More like this");
    return element("div", { class: "wishes" }, like, form);
  }

  #originalLink(hit, index) {
    const open = async (event) => {
      if (!hasKey()) return; // then the link does it
      event.preventDefault();
      const address = await source(itemPath(hit.id, index, "original")).catch(() => null);
      if (address) window.open(address, "_blank", "noopener");
    };
    return element("p", {}, element("a", { href: itemPath(hit.id, index, "original"), target: "_blank", rel: "noopener", onclick: open }, "Open the file"));
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
    const does = {
      ArrowRight: () => this.actions.onMove(1),
      ArrowDown: () => this.actions.onMove(1),
      ArrowLeft: () => this.actions.onMove(-1),
      ArrowUp: () => this.actions.onMove(-1),
      m: () => this.actions.onLike(this.hit),
      z: () => this.#zoom(),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }
}

/** Both scores and ranks: what the narrow level thought, and what the wide one decided. */
function scores(hit, levels, plan) {
  const coarse = plan?.coarse_width ?? levels[0];
  const row = (name, width, value, rank) =>
    element("tr", {}, element("th", { scope: "row" }, name, element("small", {}, ` ${width} numbers`)), element("td", {}, score(value)), element("td", {}, count(rank)));
  const head = element("tr", {}, element("td", {}), element("th", { scope: "col" }, "score"), element("th", { scope: "col" }, "rank"));
  const rows = [row("Fine", levels.at(-1), hit.score, hit.rank), row("Coarse", coarse, hit.coarse_score, hit.coarse_rank)];
  const table = element("table", { class: "scores" }, element("thead", {}, head), element("tbody", {}, ...rows));
  const likely = hit.rank === 1 ? (hit.probability ?? null) : null;
  if (likely === null) return table;
  const meter = element("span", { class: "meter", "aria-hidden": "true" }, element("i"));
  meter.firstChild.style.width = `${likely * 100}%`;
  const match = element("p", { class: "likely" }, element("span", {}, "The index holds such a picture"), element("b", {}, percent(likely)), meter);
  const both = element("div", {}, table, match);
  return both;
}

function otherCaptions(hit) {
  const captions = Array.isArray(hit.meta?.captions) ? hit.meta.captions : [];
  const others = captions.filter((caption) => typeof caption === "string" && caption !== hit.caption);
  if (!others.length) return [];
  return [element("ul", { class: "captions", "aria-label": "Other captions" }, ...others.map((caption) => element("li", {}, caption)))];
}

function facts(hit) {
  const known = { File: fileName(hit.uri || hit.id), ...(hit.width && { Size: `${count(hit.width)} × ${count(hit.height)}` }) };
  for (const [name, value] of Object.entries(hit.meta ?? {})) {
    if (name !== "captions" && value !== null) known[name] = shown(value);
  }
  if (hit.id !== known.File) known.Id = hit.id; // and not the path, which tells strangers of the machine
  const rows = Object.entries(known).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  return element("dl", { class: "facts" }, ...rows);
}
