// What goes wrong, in words, with what can be done about it; it tries again by itself where that may help.

import { ApiError, Unreachable, getJson } from "./api.js";
import { counted, element } from "./words.js";

const WAITS_S = [1, 1, 2, 3, 5];

export class Problems {
  /** again() repeats what failed; askKey() asks for a key. */
  constructor(notice, { again, askKey }) {
    Object.assign(this, { notice, again, askKey, timer: 0, tries: 0 });
  }

  /** Everything works again. */
  none() {
    clearTimeout(this.timer);
    this.tries = 0;
    this.notice.hidden = true;
    this.notice.replaceChildren();
  }

  /** Tells of an error; true where it tries again by itself. */
  tell(error) {
    clearTimeout(this.timer);
    if (error instanceof Unreachable) return this.#down();
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) return this.#keyNeeded();
    if (error.status === 429 || error.status === 503) return this.#busy(error);
    return this.#words(`That did not work: ${error.message}`);
  }

  /** Words without a remedy that this page could try. */
  say(words) {
    clearTimeout(this.timer);
    this.#words(words);
  }

  #words(text, ...others) {
    this.notice.replaceChildren(element("p", {}, text), ...others);
    this.notice.hidden = false;
    return false;
  }

  #keyNeeded() {
    this.none();
    this.askKey();
    return false;
  }

  #busy(error) {
    const seconds = Math.max(1, Math.ceil(error.retryAfter ?? WAITS_S[Math.min(this.tries, WAITS_S.length - 1)]));
    this.tries += 1;
    const now = element("button", { type: "button", class: "text-button", onclick: () => this.again() }, "Try now");
    const told = error.status === 429 ? "The service has too much to do" : "The service is not ready yet";
    this.#words(`${told}. Trying again in ${counted(seconds, "second")}.`, now);
    this.timer = setTimeout(() => this.again(), seconds * 1000);
    return true;
  }

  /** Asks for signs of life, ever less often, and repeats the search at the first one. */
  #down() {
    const now = element("button", { type: "button", class: "text-button", onclick: () => this.again() }, "Try now");
    this.#words("The service does not answer. These are the previous results; the page tries again by itself.", now);
    const look = async () => {
      const alive = await getJson("healthz").then(() => true, () => false);
      if (alive) this.again();
      else wait();
    };
    const wait = () => {
      this.timer = setTimeout(look, WAITS_S[Math.min(this.tries, WAITS_S.length - 1)] * 1000);
      this.tries += 1;
    };
    wait();
    return true;
  }
}
