// Numbers and texts as people read them, and elements made of them. It knows nothing of searches.

const whole = new Intl.NumberFormat("en");

/** 7091 → "7,091". */
export const count = (number) => whole.format(number);

/** (2, "picture") → "2 pictures". */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Milliseconds with as many digits as matter: 0.21, 6.9, 134. */
export const milliseconds = (ms) => (ms < 1 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0));

/** A cosine, three digits. */
export const score = (value) => value.toFixed(3);

/** 0.834 → "83 %", but never 100 % or 0 % of what is not certain. */
export function percent(share) {
  if (share >= 1 || share <= 0) return `${share * 100} %`;
  if (share > 0.99) return "> 99 %";
  if (share < 0.01) return "< 1 %";
  return `${Math.round(share * 100)} %`;
}

/** A note of the service, with its probabilities as the slider shows them. */
export const inPercent = (note) => (/probability/.test(note) ? note.replace(/\b[01]\.\d+/g, (share) => percent(Number(share))) : note);

/** The last part of a path or an address. */
export const fileName = (path) => path.split(/[\\/]/).filter(Boolean).pop() ?? path;

/** What to call an item in a few words: its caption, else its file, else its id. */
export const title = (item) => item.caption || fileName(item.uri || item.id);

/** "the filter leaves 3 items" → "The filter leaves 3 items." */
export const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;

/** A text cut at a word, with an ellipsis where something is missing. */
export function shortened(text, length) {
  if (text.length <= length) return text;
  const cut = text.slice(0, length);
  return `${cut.slice(0, Math.max(cut.lastIndexOf(" "), length / 2)).trimEnd()}…`;
}

/** A metadata value as text. */
export const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** An element: element("button", {type: "button", class: "tool"}, "Open", other). Text stays text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** One of the icons that index.html defines. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}
