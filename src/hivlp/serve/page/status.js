// The line under the search field: how many, how fast, stage by stage; and the same for those who listen.

import { counted, element, milliseconds } from "./words.js";

const STAGES = ["encode", "coarse", "fine", "rerank"];
/** The end of a note on misspelt words, for which the page has a button. */
const MISSPELT = / The option spell \(--spell\) corrects it$/;
const QUIET_MS = 600;

export class Status {
  constructor({ line, bar, live }) {
    Object.assign(this, { line, bar, live, timer: 0 });
    bar.replaceChildren(...STAGES.map((stage) => element("i", { class: stage })));
  }

  /** The answer's count, its notes and its milliseconds; `correct` is a button for misspelt words. */
  answer({ hits, timings_ms: spent, notes }, remarks = [], correct = null) {
    const times = element("span", { class: "times" });
    times.append(element("b", {}, `${milliseconds(spent.total)} ms`));
    for (const stage of STAGES) {
      if (spent[stage] > 0) times.append(element("span", { class: `stage ${stage}` }, `${stage} ${milliseconds(spent[stage])}`));
    }
    const found = hits.length ? counted(hits.length, "result") : "Nothing found";
    const words = [...(hits.length ? notes : []), ...remarks].map((note) => {
      const misspelt = MISSPELT.test(note);
      return element("span", { class: "note" }, note.replace(MISSPELT, ""), misspelt ? " " : null, misspelt ? correct : null);
    });
    this.line.replaceChildren(element("span", { class: "found" }, found), times, ...words);
    for (const part of this.bar.children) {
      const share = spent.total > 0 ? spent[part.className] / spent.total : 0;
      part.style.flexGrow = String(share);
    }
    this.bar.classList.add("known");
    this.say([found, `in ${milliseconds(spent.total)} milliseconds`, ...notes, ...remarks].join(". "));
  }

  /** Words in the place of an answer. */
  words(text) {
    this.line.replaceChildren(text);
    this.bar.classList.remove("known");
    this.say(text);
  }

  waiting(is) {
    this.bar.classList.toggle("waiting", is);
  }

  /** Told once nothing newer has come for a moment, so that typing is not talked over. */
  say(text) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.live.textContent = text), QUIET_MS);
  }
}
