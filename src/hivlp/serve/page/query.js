// The picture or item that stands beside the words, and the three ways to bring a picture: choose, drop, paste.

import { pictureIn, prepared, release, show, thumbnailPath } from "./pictures.js";
import { fileName, shortened } from "./words.js";

/** Pictures that were brought in this tab, so that Back finds them: number → {blob, name, url}. */
const brought = new Map();

export const pictureOf = (number) => (number ? brought.get(number) : undefined);

export class Chip {
  constructor({ chip, img, name, drop }, onDrop) {
    Object.assign(this, { chip, img, name });
    drop.addEventListener("click", onDrop);
  }

  /** A picture of one's own. */
  picture({ url, name }) {
    release(this.img);
    this.img.onerror = () => (this.img.hidden = true); // HEIC, which few browsers show
    this.img.src = url;
    this.#told(name, "Your picture");
  }

  /** An item of the index; what it is called may be known later. */
  item(id, index, words = null, kind = "image") {
    if (kind === "image") show(this.img, thumbnailPath(id, index, 40), () => (this.img.hidden = true));
    this.#told(words ?? fileName(id), "Like");
    this.img.hidden = kind !== "image";
  }

  none() {
    release(this.img);
    this.img.removeAttribute("src");
    this.chip.hidden = true;
  }

  #told(words, what) {
    this.img.hidden = false;
    this.name.textContent = shortened(words, 42);
    this.chip.title = `${what}: ${words}`;
    this.chip.hidden = false;
  }
}

/**
 * Listens for pictures. onPicture(number) is called when one is ready; onRefused(words) where there is none.
 */
export function acceptPictures({ choose, file, overlay }, { onPicture, onRefused }) {
  const take = async (files) => {
    const picture = pictureIn(files);
    if (!picture) {
      onRefused("That is not a picture. Drop or paste a file such as JPEG, PNG or WebP.");
      return;
    }
    const blob = await prepared(picture);
    const number = String(brought.size + 1);
    const name = picture.name && picture.name !== "image.png" ? picture.name : "pasted picture";
    brought.set(number, { blob, name, url: URL.createObjectURL(blob) });
    onPicture(number);
  };
  choose.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files.length) take(file.files);
    file.value = "";
  });
  document.addEventListener("paste", (event) => {
    if (!event.clipboardData?.files.length) return;
    event.preventDefault();
    take(event.clipboardData.files);
  });
  acceptDrops(overlay, take);
}

function acceptDrops(overlay, take) {
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (event, is) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    overlay.hidden = !is;
  };
  document.addEventListener("dragenter", (event) => show(event, true));
  document.addEventListener("dragover", (event) => show(event, true));
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && show(event, false));
  document.addEventListener("drop", (event) => {
    show(event, false);
    if (holdsFiles(event)) take(event.dataTransfer.files);
  });
}
