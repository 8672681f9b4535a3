// The service's HTTP API. Every call resolves to JSON or throws an ApiError that says what to tell the user.

import { askForKey, keyHeader } from "./key.js";

const WRITING = { scope: "ingest" };
const PATIENCE = 5; // seconds that a call waits where the service asks it to come back
const FACET_SIZE = 100; // values of a field: the whole tree of categories, in most shops

export class ApiError extends Error {
  constructor(detail, fields = [], status = 0) {
    super(detail);
    this.status = status;
    this.fields = fields; // [{field, message}], where single fields were refused
  }
}

// It takes a key of a `scope`, where there are keys. Without `ask` nobody is asked for one.
async function call(path, options = {}, { again = true, ask = true, scope = "search" } = {}) {
  const key = keyHeader(scope);
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...options.headers, ...key } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The service does not answer. Is it running?");
  }
  if (response.ok) return response.status === 204 ? null : readable(response);
  const wait = Number(response.headers.get("Retry-After"));
  if (response.status === 429 && again && wait <= PATIENCE) {
    await new Promise((done) => setTimeout(done, 1000 * wait));
    return call(path, options, { again: false, ask, scope });
  }
  const problem = await response.json().catch(() => ({}));
  const refused = response.status === 401 || response.status === 403;
  const isOld = key["X-API-Key"] !== keyHeader(scope)["X-API-Key"]; // another was given while this answer was on its way
  if (refused && (isOld || (ask && (await askForKey(scope, problem.code))))) return call(path, options, { ask, scope });
  const fields = (problem.errors ?? []).map(({ field, message }) => ({ field: field.replace(/^(body|query)\./, ""), message }));
  throw new ApiError(problem.detail ?? `The service answered ${response.status}.`, fields, response.status);
}

// Between here and the service there may be a hotel's own page, with status 200.
async function readable(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The service gave an answer that cannot be read.");
  }
}

// One page of the catalogue, or of a search. `facets` are field names to count under the filter.
export function listItems({ limit, cursor = null, filter = null, facets = [], sort = "" }, signal) {
  const query = new URLSearchParams({ limit });
  if (sort) query.set("sort", sort);
  if (cursor) query.set("cursor", cursor);
  if (filter) query.set("filter", JSON.stringify(filter));
  for (const name of facets) query.append("facets", name);
  if (facets.length) query.set("facet_size", FACET_SIZE);
  return call(`/items?${query}`, { signal });
}

export const search = (request, signal) =>
  call("/search", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
    signal,
  });

// `request` as for `search`, with a picture; the words may be empty.
export function searchImage(image, request, signal) {
  const form = new FormData();
  form.append("image", image);
  for (const [name, value] of Object.entries(request)) {
    form.append(name, typeof value === "object" ? JSON.stringify(value) : value);
  }
  return call("/search/image", { method: "POST", body: form, signal });
}

// How many of a search's hits have which values; of one with a picture, if there is a `photo`.
export function countHits({ photo, ...request }, facets) {
  const counting = { ...request, limit: 0, facets, facet_size: FACET_SIZE };
  return photo ? searchImage(photo.file, counting) : search(counting);
}

export const suggest = (typed, signal) => call(`/suggest?q=${encodeURIComponent(typed)}`, { signal }, { ask: false });

let listing = null;

// Those who ask at the same time share an answer.
export const listFields = () => (listing ??= call("/fields").finally(() => (listing = null)));

// One for each value of the field `groupBy`, if there is one, and none of the item's own.
export function similarItems(id, limit, groupBy) {
  const query = new URLSearchParams({ limit });
  if (groupBy) query.set("group_by", groupBy);
  return call(`/items/${encodeURIComponent(id)}/similar?${query}`);
}

export const getItem = (id) => call(`/items/${encodeURIComponent(id)}`);

// A new product. One that has its id by now is only replaced where somebody has said so.
export const saveItem = (form, { replace = false } = {}) =>
  call("/items", { method: "POST", body: form, headers: replace ? {} : { "If-None-Match": "*" } }, WRITING);

// Of the version that was seen: nobody else's change is overwritten.
export const changeItem = ({ id, version }, changes) =>
  call(`/items/${encodeURIComponent(id)}`, {
    method: "PATCH",
    headers: { "Content-Type": "application/json", "If-Match": `"${version}"` },
    body: JSON.stringify(changes),
  }, WRITING);

// One that somebody else has deleted meanwhile is deleted.
export const deleteItem = ({ id, version }) =>
  call(`/items/${encodeURIComponent(id)}`, { method: "DELETE", headers: { "If-Match": `"${version}"` } }, WRITING).catch((error) => {
    if (error.status !== 404) throw error;
  });
