// Thumbnails in the page, with or without a key, and the picture that somebody searches with.

import { getBlob, hasKey, itemPath } from "./api.js";

const SIZES = [160, 320, 640, 1280];
const RETRY_MS = 1500;
/** A query picture is made smaller than this before it is sent: no model looks at more of it. */
const SIDE = 1024;

const wanted = new WeakMap(); // <img> → the address that it should show
const copies = new WeakMap(); // <img> → the blob address of what was fetched for it
const near = new IntersectionObserver(arrived, { rootMargin: "400px" });

/** The smallest thumbnail that fills so many CSS pixels on this screen. */
export function thumbnailPath(id, index, pixels) {
  const needed = pixels * Math.min(window.devicePixelRatio || 1, 2);
  const size = SIZES.find((side) => side >= needed) ?? SIZES.at(-1);
  return itemPath(id, index, "thumbnail", { size });
}

/**
 * Shows a picture of the service in an <img>: when it comes near the window, and after one more try where it
 * fails. `missing` is called when there is none.
 */
export function show(img, path, missing = () => {}) {
  if (wanted.get(img)?.path === path) return;
  release(img);
  wanted.set(img, { path, missing, tries: 0 });
  img.onload = () => img.classList.add("loaded");
  img.onerror = () => failed(img, path);
  if (hasKey()) near.observe(img);
  else img.src = path;
}

/** Gives back what an <img> holds. */
export function release(img) {
  near.unobserve(img);
  if (copies.has(img)) URL.revokeObjectURL(copies.get(img));
  copies.delete(img);
  img.classList.remove("loaded");
  wanted.delete(img);
}

/** The address of any picture of the service for one use: itself, or of a copy where a key is needed. */
export async function source(path, options) {
  return hasKey() ? URL.createObjectURL(await getBlob(path, options)) : path;
}

function arrived(entries) {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    fetched(target, wanted.get(target)?.path);
  }
}

async function fetched(img, path) {
  if (!path) return;
  try {
    const blob = await getBlob(path);
    if (wanted.get(img)?.path !== path) return;
    copies.set(img, URL.createObjectURL(blob));
    img.src = copies.get(img);
  } catch (error) {
    failed(img, path, error.status);
  }
}

/** One more try, since a busy service refuses pictures too; an answer that there is none is believed. */
function failed(img, path, status = null) {
  const wish = wanted.get(img);
  if (wish?.path !== path) return;
  if (wish.tries > 0 || status === 404 || status === 410) {
    wish.missing();
    return;
  }
  wish.tries += 1;
  setTimeout(() => {
    if (wanted.get(img) !== wish) return;
    if (hasKey()) fetched(img, path);
    else {
      img.removeAttribute("src");
      img.src = path;
    }
  }, RETRY_MS);
}

/** The first picture of a drop, a paste or a choice; null where there is none. */
export const pictureIn = (files) => [...(files ?? [])].find((file) => file.type.startsWith("image/")) ?? null;

/** The picture as it is sent: large ones smaller, what this browser can't decode as it is. */
export async function prepared(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) return file;
  const scale = SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob((made) => resolve(made ?? file), "image/jpeg", 0.92));
}

/** The bytes of a blob as base64. */
export function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
