// Walks through every method of examples/client.mjs against the service at process.argv[2].

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Client, SearchError } from "../../examples/client.mjs";

const [, , url, picturePath] = process.argv;
const shop = new Client(`${url}/`);

async function all(results) {
  const list = [];
  for await (const one of results) list.push(one);
  return list;
}

const picture = new Blob([await readFile(picturePath)], { type: "image/png" });

const described = { title: "red mug", description: "Holds 350 ml.\nDishwasher-safe." };
const fields = { ...described, category: ["Home", "Mugs"], price: 12.5, stock: null, attributes: { brand: "Kiln" } };
const mug = await shop.put("mug/1", fields, { pictures: [picture, picture], onlyNew: true });
assert.deepEqual([mug.images.length, mug.category, mug.stock], [2, ["Home", "Mugs"], null]);
assert.equal(mug.images[0].sha256, createHash("sha256").update(await picture.bytes()).digest("hex"));
assert.equal(mug.description, described.description);
assert.equal((await shop.put("text", described)).description, described.description);
await shop.delete("text");
await assert.rejects(shop.put("mug/1", { title: "other" }, { onlyNew: true }), { code: "already_exists", status: 412 });
assert.equal((await shop.change("mug/1", { price: 9, stock: 2 }, { ifVersion: mug.version })).price, 9);
await assert.rejects(shop.change("mug/1", { price: 1 }, { ifVersion: mug.version }), SearchError);

const stored = await all(shop.bulk([{ id: "lamp", title: "blue lamp", price: 40 }, { id: "bad", price: -1 }]));
assert.deepEqual(stored.map(({ id, status }) => [id, status]), [["lamp", 201], ["bad", 422]]);

const found = await shop.search("mug", { filter: { price: { lt: 20 } }, facets: ["brand"], explain: true });
assert.deepEqual(found.hits.map((hit) => hit.id), ["mug/1"]);
assert.equal(found.facets.brand.values[0].value, "Kiln");
assert.ok(found.hits[0].explanation);
const both = await shop.searchBatch([{ query: "mug", limit: 1 }, { query: "lamp", limit: 0 }]);
assert.deepEqual(both.map(({ hits, total }) => [hits.length, total]), [[1, 2], [0, 2]]);
const asked = { query: "mug", words: 0.5, explain: true, limit: 1 };
assert.equal((await shop.searchImage(picture, asked)).hits.length, 1);
const { fetch } = globalThis;
let outlivesThePage;
globalThis.fetch = (address, options) => {
  outlivesThePage = options.keepalive;
  return fetch(address, options);
};
assert.equal(await shop.sendEvents([{ search_id: found.search_id, item_id: "mug/1", position: 0, kind: "click" }]), 1);
assert.equal(outlivesThePage, true);
globalThis.fetch = fetch;
assert.deepEqual((await shop.fields()).find(({ name }) => name === "price"), { name: "price", kinds: ["number"] });
assert.deepEqual(await shop.putRules({ curations: [{ query: "gift", pin: ["lamp"] }] }), await shop.rules());
const gifts = (await shop.search("gift")).hits;
assert.deepEqual(gifts.map((hit) => [hit.id, hit.pinned]), [["lamp", true], ["mug/1", false]]);
const asked_with = [];
const edited = await shop.editRules(async (rules) => {
  if (!asked_with.length) await shop.putRules({}); // somebody else's change comes between
  asked_with.push(rules);
  return { ...rules, synonyms: [{ words: ["cup"], means: "mug" }] };
});
assert.deepEqual(asked_with.map(({ curations }) => curations.length), [1, 0], "it is asked again");
assert.deepEqual(edited, await shop.rules());
assert.deepEqual([edited.curations, edited.synonyms.length], [[], 1]);
await shop.putRules({});
await assert.rejects(shop.searchImage("https://shop.example/mug.jpg"), { code: "image_urls_off" });
await assert.rejects(shop.put("far", {}, { pictures: ["https://shop.example/a.jpg"] }), { code: "image_urls_off" });
assert.deepEqual((await all(shop.searchAll("mug", { limit: 1 }))).map((hit) => hit.id).sort(), ["lamp", "mug/1"]);
assert.deepEqual((await shop.similar("mug/1")).hits.map((hit) => hit.id), ["lamp"]);
assert.deepEqual((await shop.recommend(["mug/1"], { limit: 5 })).hits.map((hit) => hit.id), ["lamp"]);
assert.ok((await shop.suggest("blu")).includes("blue lamp"));

assert.deepEqual((await all(shop.items({ price: { gt: 10 } }))).map((item) => item.id), ["lamp"]);
assert.deepEqual((await all(shop.items({}, "price:desc"))).map((item) => item.id), ["lamp", "mug/1"]);
assert.deepEqual((await shop.similar("mug/1", 5, { price: { lt: 20 } })).hits, []);
assert.deepEqual((await shop.similar("mug/1", 5, {}, { fields: ["title"] })).hits[0].item, { id: "lamp", title: "blue lamp" });
assert.deepEqual(await all(shop.items({ id: "lamp" }, "", ["price"])), [{ id: "lamp", price: 40 }]);
assert.equal(await shop.count(), 2);
assert.equal((await shop.get("mug/1")).title, "red mug");
await assert.rejects(shop.delete("mug/1", { ifVersion: mug.version }), { code: "version_mismatch" });
await shop.delete("mug/1", { ifVersion: (await shop.get("mug/1")).version });
await assert.rejects(shop.get("mug/1"), { code: "item_not_found" });
await assert.rejects(shop.deleteWhere({ brand: undefined }), { code: "empty_filter" });
assert.equal(await shop.deleteAll(), 1);

let requests = 0;
globalThis.fetch = (address, options) => {
  requests += 1;
  const overload = { status: 429, headers: { "Retry-After": "0" } };
  return requests === 2 ? new Response("", overload) : fetch(address, options);
};
async function* catalogue() {
  for (let n = 1; n <= 502; n += 1) {
    yield { id: String(n), title: n === 501 ? 5 : "mug", attributes: { style: n % 2 ? "a" : "b" } };
  }
}
const results = await all(shop.bulk(catalogue()));
assert.equal(requests, 3);
assert.deepEqual(results.map(({ line }) => line), [...Array(502).keys()].map((n) => n + 1));
assert.deepEqual(results.filter(({ status }) => status !== 201).map(({ line, id }) => [line, id]), [[501, "501"]]);

assert.equal((await all(shop.searchAll("mug", { limit: 100, offset: 350 }))).length, 151);
const similar = await shop.similar("1", 2);
const second = (await shop.similar("1", 2, {}, { cursor: similar.next_cursor })).hits.map((hit) => hit.id);
assert.deepEqual((await shop.similar("1", 2, {}, { offset: 2 })).hits.map((hit) => hit.id), second);
assert.ok(!similar.hits.some((hit) => second.includes(hit.id)));
const other = await shop.similar("1", 2, {}, { group_by: "style" });
assert.deepEqual(other.hits.map(({ group }) => group.value), ["b"]);
assert.equal(await shop.deleteAll(), 501);

const closing = { line: 2, id: "b", status: 503, code: "draining", detail: "closing" };
globalThis.fetch = () => new Response(`{"line": 1, "id": "a", "status": 201}\n${JSON.stringify(closing)}\n`);
const begun = shop.bulk(["a", "b", "c"].map((id) => ({ id, title: "mug" })));
assert.deepEqual([(await begun.next()).value.line, (await begun.next()).value.line], [1, 2]);
await assert.rejects(begun.next(), { code: "draining", status: 503 });
console.log("walked");
