// Requests to the service, with the key where it needs one. It knows no element of the page.

const KEPT = "hivlp-key";
let key = kept();

/** The service answered that it won't: status, code, words for people, seconds to wait where it says so. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfter = null) {
    super(message);
    Object.assign(this, { name: "ApiError", status, code, retryAfter });
  }
}

/** No answer at all: the service is down, or the network is. */
export class Unreachable extends Error {}

export const hasKey = () => key !== "";

/** Keeps the key for this tab; "" forgets it. */
export function setKey(value) {
  key = value.trim();
  try {
    sessionStorage.setItem(KEPT, key);
  } catch {
    // Then it lasts until the page is left.
  }
}

/** The JSON of an answer. Throws ApiError, Unreachable, or AbortError where the signal said so. */
export async function getJson(path, options = {}) {
  const answer = await ask(path, options);
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("the answer broke off");
  }
}

/** The bytes of an answer, such as a picture. */
export async function getBlob(path, options = {}) {
  return (await ask(path, options)).blob();
}

/** Posts an object as JSON, or a FormData as it is. */
export function postJson(path, body, options = {}) {
  if (body instanceof FormData) return getJson(path, { ...options, method: "POST", body });
  const headers = { "Content-Type": "application/json" };
  return getJson(path, { ...options, method: "POST", body: JSON.stringify(body), headers });
}

/** The address of something that belongs to an item; ids may hold any character. */
export function itemPath(id, index, what = "", query = {}) {
  const path = `v1/items/${encodeURIComponent(id)}${what && `/${what}`}`;
  const asked = new URLSearchParams({ ...query, index });
  return `${path}?${asked}`;
}

async function ask(path, options) {
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("no answer");
  }
  if (answer.ok) return answer;
  throw await problem(answer);
}

async function problem(answer) {
  const retryAfter = Number.parseFloat(answer.headers.get("Retry-After") ?? "") || null;
  const said = await answer.json().catch(() => null);
  const error = said?.error ?? {};
  const unread = `the service answered with status ${answer.status} and no words`;
  return new ApiError(answer.status, error.code ?? "unknown", error.message ?? unread, retryAfter);
}

function kept() {
  try {
    return sessionStorage.getItem(KEPT) ?? "";
  } catch {
    return "";
  }
}
