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
 *   images: { url: string, width: number, height: number, sha256: string }[],
 *   version: number, created_at: string, updated_at: string }} Item
 * @typedef {Partial<Pick<Item, "title" | "description" | "category" | "price" | "stock" | "attributes">>} Fields
 * @typedef {{ id: string, score: number, item: Item, match: number | null, explanation: object | null,
 *   group: { value: string, count: number } | null, highlights: Record<string, string> | null }} Hit
 * @typedef {{ hits: Hit[], total: number, next_cursor: string | null, facets: Record<string, object>,
 *   corrected_query: string | null, took_ms: Record<string, number>, model_id: string, search_id: string }} Results
 * @typedef {{ limit?: number, offset?: number, cursor?: string, filter?: object, facets?: string[],
 *   facet_size?: number, facet_ranges?: Record<string, number[] | string[]>,
 *   sort?: { field: string, order?: "asc" | "desc" }[],
 *   boost?: { field?: string, filter?: object, weight: number }[], relevance_floor?: number, min_score?: number,
 *   group_by?: string, signal?: AbortSignal }} PageOptions
 * @typedef {PageOptions & { mode?: "hybrid" | "semantic" | "lexical", exclude?: string[], correct?: boolean,
 *   complete?: boolean, explain?: boolean, highlight?: boolean, rerank?: number }} Options
 */

const RETRIES = 5; // after an overload or an outage

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

  /** What looks like a picture, or the one at an address (a string); a query changes what is meant ("in red").
   * @param {Blob | string} picture @param {Options & { query?: string, words?: number }} [options]
   * @returns {Promise<Results>} */
  searchImage(picture, { signal, ...options } = {}) {
    return this.#json("POST", "/search/image", { form: form(options, [picture]), signal });
  }

  /** Every hit, page by page. @param {string} query @param {Options} [options] @returns {AsyncGenerator<Hit>} */
  async *searchAll(query, options = {}) {
    for (let cursor; cursor !== null; ) {
      const page = await this.search(query, cursor ? { ...options, cursor } : options);
      yield* page.hits;
      cursor = page.next_cursor;
    }
  }

  /** @param {string} id @param {number} [limit] @param {object} [filter] @returns {Promise<Results>} */
  similar(id, limit = 12, filter = {}) {
    const query = new URLSearchParams({ limit: String(limit), filter: JSON.stringify(filter) });
    return this.#json("GET", `/items/${encodeURIComponent(id)}/similar?${query}`);
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

  /** @param {string} id @returns {Promise<Item>} */
  get(id) {
    return this.#json("GET", `/items/${encodeURIComponent(id)}`);
  }

  /** Adds or replaces; a string among the pictures is the address of one. With `ifVersion` or `onlyNew` nobody else's
   * write is overwritten (412).
   * @param {string} id @param {Fields} fields
   * @param {{ pictures?: (Blob | string)[], ifVersion?: number, onlyNew?: boolean }} [options] @returns {Promise<Item>} */
  put(id, fields, { pictures = [], ifVersion, onlyNew = false } = {}) {
    const headers = onlyNew ? { "If-None-Match": "*" } : ifMatch(ifVersion);
    return this.#json("PUT", `/items/${encodeURIComponent(id)}`, { form: form(fields, pictures), headers });
  }

  /** Changes some of an item: a price or a stock costs no run of the model.
   * @param {string} id @param {Fields} fields @param {{ ifVersion?: number }} [options] @returns {Promise<Item>} */
  change(id, fields, { ifVersion } = {}) {
    return this.#json("PATCH", `/items/${encodeURIComponent(id)}`, { json: fields, headers: ifMatch(ifVersion) });
  }

  /** @param {string} id */
  async delete(id) {
    await this.#send("DELETE", `/items/${encodeURIComponent(id)}`);
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

  /** The catalogue, or what a filter lets through, in an order such as "price:desc".
   * @param {object} [filter] @param {string} [sort] @returns {AsyncGenerator<Item>} */
  async *items(filter = {}, sort = "") {
    const query = new URLSearchParams({ limit: "100", filter: JSON.stringify(filter), ...(sort ? { sort } : {}) });
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

  /** Stores some hundreds of items in one request: `{ id, title, images: [base64, …], … }` each. For more, call it
   * again: browsers send a body only when all of it is there.
   * @param {object[]} lines @returns {Promise<{ line: number, id?: string, status: number, code?: string, detail?: string }[]>} */
  async bulk(lines) {
    const body = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    const headers = { "Content-Type": "application/x-ndjson" };
    const answer = await this.#send("POST", "/items/bulk", { body, headers });
    return (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  }

  async #json(method, path, request) {
    return (await this.#send(method, path, request)).json();
  }

  async #send(method, path, { json, form, body = form, headers, signal } = {}) {
    const all = { ...this.#headers, ...headers, ...(json ? { "Content-Type": "application/json" } : {}) };
    const options = { method, headers: all, body: json ? JSON.stringify(json) : body, signal };
    for (let attempt = 0; ; attempt += 1) {
      const answer = await fetch(this.#url + path, options);
      if (answer.ok) return answer;
      if (![429, 503].includes(answer.status) || attempt === RETRIES) throw await problem(answer);
      const pause = Number(answer.headers.get("Retry-After") ?? 1) * (1 + Math.random() / 4); // not all together again
      await new Promise((resolve) => setTimeout(resolve, 1000 * pause));
    }
  }
}

async function problem(answer) {
  const { code, detail } = await answer.json().catch(() => ({})); // or from something in between
  return new SearchError(answer.status, code ?? `http_${answer.status}`, detail ?? answer.statusText);
}

const ifMatch = (version) => (version === undefined ? {} : { "If-Match": `"${version}"` });

// Fields as parts of a form: text as it is, everything else as JSON; what is null is left out.
function form(fields, pictures) {
  const parts = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined) parts.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  for (const picture of pictures) {
    if (typeof picture === "string") parts.append("image_url", picture);
    else parts.append("image", picture, picture.name ?? "picture");
  }
  return parts;
}
