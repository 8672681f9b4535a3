// A client of the product search in JavaScript, for browsers and Node 20: copy this file into a shop, or learn the API
// from it. It needs nothing else.
//
//     import { Client } from "./client.mjs";
//     const shop = new Client("http://localhost:8000");
//     await shop.put("mug-17", { title: "Stoneware mug", price: 12.5 }, { pictures: [file] });
//     const { hits } = await shop.search("red mug", { filter: { price: { lt: 20 } } });

/**
 * @typedef {{ id: string, title: string, description: string, category: string[], price: number | null,
 *   stock: number | null, attributes: Record<string, string | number | boolean | string[]>,
 *   images: { url: string, width: number, height: number, sha256: string, source_sha256: string | null }[],
 *   version: number, created_at: string, updated_at: string }} Item
 * @typedef {Partial<Pick<Item, "title" | "description" | "category" | "price" | "stock" | "attributes" | "created_at">>} Fields
 * @typedef {{ id: string, score: number, item: Item, pinned: boolean, match: number | null,
 *   group: { value: string, count: number } | null, explanation: object | null,
 *   highlights: Record<string, string> | null }} Hit
 * @typedef {{ hits: Hit[], total: number, next_cursor: string | null, facets: Record<string, object>,
 *   corrected_query: string | null, took_ms: Record<string, number>, model_id: string, search_id: string }} Results
 * @typedef {{ limit?: number, offset?: number, cursor?: string, filter?: object, facets?: string[],
 *   facet_size?: number, facet_ranges?: Record<string, number[] | string[]>,
 *   sort?: { field: string, order?: "asc" | "desc" }[],
 *   boost?: { field?: string, filter?: object, weight: number }[], relevance_floor?: number, min_score?: number,
 *   group_by?: string, fields?: (keyof Item)[], signal?: AbortSignal }} PageOptions
 * @typedef {PageOptions & { mode?: "hybrid" | "semantic" | "lexical", exclude?: string[], correct?: boolean,
 *   complete?: boolean, explain?: boolean, highlight?: boolean, rerank?: number }} Options
 * @typedef {Options & { query?: string }} Search
 * @typedef {PageOptions & { query?: string, words?: number, explain?: boolean }} ImageOptions
 * @typedef {{ search_id: string, item_id: string, position: number,
 *   kind: "impression" | "click" | "add_to_cart" | "purchase" }} Event
 * @typedef {{ name: string, kinds: ("keyword" | "number" | "boolean" | "date")[] }} FieldInfo
 * @typedef {{ synonyms?: { words: string[], means: string }[],
 *   curations?: { query: string, match?: "exact" | "contains", pin?: string[], hide?: string[],
 *     starts_at?: string | null, ends_at?: string | null }[],
 *   boost?: { field?: string, filter?: object, weight: number }[] }} Rules
 * @typedef {{ line: number, id?: string, status: number, code?: string, detail?: string }} BulkResult
 */

const RETRIES = 5; // after an overload or an outage
const BULK_LINES = 500; // of one request; browsers send a body only when all of it is there
const BULK_LENGTH = 8 * 2 ** 20; // or as soon as it is so long: lines may hold pictures

/** The service refused: `code` is stable (`item_not_found`, `unknown_field` …), the message is for people. */
export class SearchError extends Error {
  constructor(status, code, detail) {
    super(`${detail} (${code})`);
    this.name = "SearchError";
    this.status = status;
    this.code = code;
  }
}

export class Client {
  #url;
  #headers;

  /**
   * @param {string} url where the service is
   * @param {{ headers?: Record<string, string> }} [options] sent with every request
   */
  constructor(url, { headers = {} } = {}) {
    this.#url = url.replace(/\/$/, "");
    this.#headers = headers;
  }

  /** @param {string} query @param {Options} [options] @returns {Promise<Results>} */
  search(query, { signal, ...options } = {}) {
    return this.#json("POST", "/search", { json: { query, ...options }, signal });
  }

  /** Up to 50 searches in one request; the results are in their order.
   * @param {Omit<Search, "signal">[]} searches @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<Results[]>} */
  async searchBatch(searches, { signal } = {}) {
    return (await this.#json("POST", "/search/batch", { json: { searches }, signal })).results;
  }

  /** What looks like a picture, or the one at an address (a string); a query changes what is meant ("in red").
   * @param {Blob | string} picture @param {ImageOptions} [options] @returns {Promise<Results>} */
  searchImage(picture, { signal, ...options } = {}) {
    return this.#json("POST", "/search/image", { form: form(options, picture), signal });
  }

  /** Every hit, page by page. @param {string} query @param {Options} [options] @returns {AsyncGenerator<Hit>} */
  async *searchAll(query, options = {}) {
    for (let cursor; cursor !== null; ) {
      // The service takes a cursor or an offset: one of the two.
      const page = await this.search(query, cursor ? { ...options, offset: undefined, cursor } : options);
      yield* page.hits;
      cursor = page.next_cursor;
    }
  }

  /** @param {string} id @param {number} [limit] @param {object} [filter]
   * @param {{ offset?: number, cursor?: string, group_by?: string, fields?: string[], signal?: AbortSignal }} [options]
   * @returns {Promise<Results>} */
  similar(id, limit = 12, filter = {}, { fields = [], signal, ...options } = {}) {
    const query = new URLSearchParams(given({ limit, filter: JSON.stringify(filter), ...options }));
    for (const field of fields) query.append("fields", field);
    return this.#json("GET", `/items/${encodeURIComponent(id)}/similar?${query}`, { signal });
  }

  /** What is like all of these: for who looked at them, or has them in the basket.
   * @param {string[]} items @param {PageOptions} [options] @returns {Promise<Results>} */
  recommend(items, { signal, ...options } = {}) {
    return this.#json("POST", "/recommend", { json: { items, ...options }, signal });
  }

  /** @param {string} typed @param {{ limit?: number, signal?: AbortSignal }} [options] @returns {Promise<string[]>} */
  async suggest(typed, { limit = 8, signal } = {}) {
    const { suggestions } = await this.#json("GET", `/suggest?${new URLSearchParams({ q: typed, limit })}`, { signal });
    return suggestions.map((one) => one.text);
  }

  /** Tells what shoppers did with hits: `search_id` is their answer's, `position` a hit's place in the ranking, from 0.
   * @param {Event[]} events @returns {Promise<number>} how many are kept: all or none */
  async sendEvents(events) {
    // Sent though the page is left by the click that it tells of; browsers do so for up to 64 KiB.
    const keepalive = events.length <= 100;
    return (await this.#json("POST", "/events", { json: { events }, keepalive })).accepted;
  }

  /** What can be filtered by, counted and sorted by. @returns {Promise<FieldInfo[]>} */
  async fields() {
    return (await this.#json("GET", "/fields")).fields;
  }

  /** @returns {Promise<Rules>} */
  rules() {
    return this.#json("GET", "/rules");
  }

  /** Replaces all rules: what is left out is gone. @param {Rules} rules @returns {Promise<Rules>} */
  putRules(rules) {
    return this.#json("PUT", "/rules", { json: rules });
  }

  /** Puts what `change` makes of the rules; where others have changed them meanwhile, it is asked again.
   * @param {(rules: Rules) => Rules | Promise<Rules>} change @returns {Promise<Rules>} */
  async editRules(change) {
    for (;;) {
      const answer = await this.#send("GET", "/rules");
      const json = await change(await answer.json());
      try {
        return await this.#json("PUT", "/rules", { json, headers: { "If-Match": answer.headers.get("ETag") } });
      } catch (error) {
        if (error.code !== "version_mismatch") throw error;
      }
    }
  }

  /** @param {string} id @returns {Promise<Item>} */
  get(id) {
    return this.#json("GET", `/items/${encodeURIComponent(id)}`);
  }

  /** Adds or replaces; a string among the pictures is the address of one. With `ifVersion` or `onlyNew` nobody else's
   * write is overwritten (412).
   * @param {string} id @param {Fields} fields
   * @param {{ pictures?: (Blob | string)[], ifVersion?: number, onlyNew?: boolean }} [options] @returns {Promise<Item>} */
  async put(id, fields, { pictures = [], ifVersion, onlyNew = false } = {}) {
    const headers = onlyNew ? { "If-None-Match": "*" } : ifMatch(ifVersion);
    // As JSON: FormData makes every line break of a text "\r\n".
    const images = await Promise.all(pictures.filter((one) => typeof one !== "string").map(base64));
    const image_urls = pictures.filter((one) => typeof one === "string");
    const json = { ...given(fields), images, image_urls };
    return this.#json("PUT", `/items/${encodeURIComponent(id)}`, { json, headers });
  }

  /** Changes some of an item: a price or a stock costs no run of the model.
   * @param {string} id @param {Fields} fields @param {{ ifVersion?: number }} [options] @returns {Promise<Item>} */
  change(id, fields, { ifVersion } = {}) {
    return this.#json("PATCH", `/items/${encodeURIComponent(id)}`, { json: fields, headers: ifMatch(ifVersion) });
  }

  /** @param {string} id @param {{ ifVersion?: number }} [options] */
  async delete(id, { ifVersion } = {}) {
    await this.#send("DELETE", `/items/${encodeURIComponent(id)}`, { headers: ifMatch(ifVersion) });
  }

  /** Deletes all that a filter lets through; an empty one is refused.
   * @param {object} filter @returns {Promise<number>} how many */
  async deleteWhere(filter) {
    const query = new URLSearchParams({ filter: JSON.stringify(filter) });
    return (await this.#json("DELETE", `/items?${query}`)).deleted;
  }

  /** Empties the shop. @returns {Promise<number>} how many items it had */
  async deleteAll() {
    return (await this.#json("DELETE", "/items?all=true")).deleted;
  }

  /** The catalogue, or what a filter lets through, in an order such as "price:desc"; of `fields`, what each item is to
   * have beside its id.
   * @param {object} [filter] @param {string} [sort] @param {string[]} [fields] @returns {AsyncGenerator<Item>} */
  async *items(filter = {}, sort = "", fields = []) {
    const query = new URLSearchParams({ limit: "100", filter: JSON.stringify(filter), ...(sort ? { sort } : {}) });
    for (const field of fields) query.append("fields", field);
    for (;;) {
      const page = await this.#json("GET", `/items?${query}`);
      yield* page.items;
      if (page.next_cursor === null) return;
      query.set("cursor", page.next_cursor);
    }
  }

  /** @param {object} [filter] @returns {Promise<number>} */
  async count(filter = {}) {
    const query = new URLSearchParams({ limit: "1", filter: JSON.stringify(filter) });
    return (await this.#json("GET", `/items?${query}`)).total;
  }

  /** Stores many items, read as fast as the service stores them: `{ id, title, images: [base64, …], … }` each. A
   * result's `line` counts from 1 through all of them. If this throws, send again what has had no result.
   * @param {Iterable<object> | AsyncIterable<object>} lines @returns {AsyncGenerator<BulkResult>} */
  async *bulk(lines) {
    const headers = { "Content-Type": "application/x-ndjson" };
    let done = 0;
    for await (const chunk of chunks(lines)) {
      const answer = await this.#send("POST", "/items/bulk", { body: chunk.join(""), headers });
      const results = (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
      for (const result of results) yield { ...result, line: done + result.line };
      const { status, code, detail } = results.at(-1);
      if (results.length < chunk.length) throw new SearchError(status, code, detail); // it has stopped reading
      done += chunk.length;
    }
  }

  async #json(method, path, request) {
    return (await this.#send(method, path, request)).json();
  }

  async #send(method, path, { json, form, body = form, headers, signal, keepalive } = {}) {
    const all = { ...this.#headers, ...headers, ...(json ? { "Content-Type": "application/json" } : {}) };
    const options = { method, headers: all, body: json ? JSON.stringify(json) : body, signal, keepalive };
    for (let attempt = 0; ; attempt += 1) {
      const answer = await fetch(this.#url + path, options);
      if (answer.ok) return answer;
      if (![429, 503].includes(answer.status) || attempt === RETRIES) throw await problem(answer);
      const asked = Number(answer.headers.get("Retry-After") ?? 1);
      const pause = Number.isNaN(asked) ? 1 : asked; // a date, where something between us and the service asks
      await new Promise((resolve) => setTimeout(resolve, 1000 * pause * (1 + Math.random() / 4))); // not all together
    }
  }
}

async function problem(answer) {
  const { code, detail } = await answer.json().catch(() => ({})); // or from something in between
  return new SearchError(answer.status, code ?? `http_${answer.status}`, detail ?? answer.statusText);
}

const ifMatch = (version) => (version === undefined ? {} : { "If-Match": `"${version}"` });

const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => (value ?? null) !== null));

async function* chunks(lines) {
  let chunk = [];
  let length = 0;
  for await (const line of lines) {
    chunk.push(`${JSON.stringify(line)}\n`);
    length += chunk.at(-1).length;
    if (chunk.length < BULK_LINES && length < BULK_LENGTH) continue;
    yield chunk;
    chunk = [];
    length = 0;
  }
  if (chunk.length) yield chunk;
}

async function base64(picture) {
  const bytes = new Uint8Array(await picture.arrayBuffer());
  let binary = "";
  // In pieces: a call takes only so many arguments.
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}

// Options of a search by a picture as parts of a form: text as it is, everything else as JSON.
function form(options, picture) {
  const parts = new FormData();
  for (const [name, value] of Object.entries(given(options))) {
    parts.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  if (typeof picture === "string") parts.append("image_url", picture);
  else parts.append("image", picture, picture.name ?? "picture");
  return parts;
}
