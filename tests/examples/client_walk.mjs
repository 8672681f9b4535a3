// Walks through every method of examples/client.mjs against the service at process.argv[2].

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { Client, SearchError } from "../../examples/client.mjs";

const [, , url, picturePath] = process.argv;
const shop = new Client(`${url}/`);
const picture = new Blob([await readFile(picturePath)], { type: "image/png" });

const fields = { title: "red mug", category: ["Home", "Mugs"], price: 12.5, stock: null, attributes: { brand: "Kiln" } };
const mug = await shop.put("mug/1", fields, { pictures: [picture, picture], onlyNew: true });
assert.deepEqual([mug.images.length, mug.category, mug.stock], [2, ["Home", "Mugs"], null]);
await assert.rejects(shop.put("mug/1", { title: "other" }, { onlyNew: true }), { code: "already_exists", status: 412 });
assert.equal((await shop.change("mug/1", { price: 9, stock: 2 }, { ifVersion: mug.version })).price, 9);
await assert.rejects(shop.change("mug/1", { price: 1 }, { ifVersion: mug.version }), SearchError);

const stored = await shop.bulk([{ id: "lamp", title: "blue lamp", price: 40 }, { id: "bad", price: -1 }]);
assert.deepEqual(stored.map(({ id, status }) => [id, status]), [["lamp", 201], ["bad", 422]]);

const found = await shop.search("mug", { filter: { price: { lt: 20 } }, facets: ["brand"], explain: true });
assert.deepEqual(found.hits.map((hit) => hit.id), ["mug/1"]);
assert.equal(found.facets.brand.values[0].value, "Kiln");
assert.ok(found.hits[0].explanation);
assert.equal((await shop.searchImage(picture, { query: "mug", limit: 1 })).hits.length, 1);
await assert.rejects(shop.searchImage("https://shop.example/mug.jpg"), { code: "image_urls_off" });
await assert.rejects(shop.put("far", {}, { pictures: ["https://shop.example/a.jpg"] }), { code: "image_urls_off" });
const ids = [];
for await (const hit of shop.searchAll("mug", { limit: 1 })) ids.push(hit.id);
assert.deepEqual(ids.sort(), ["lamp", "mug/1"]);
assert.deepEqual((await shop.similar("mug/1")).hits.map((hit) => hit.id), ["lamp"]);
assert.deepEqual((await shop.recommend(["mug/1"], { limit: 5 })).hits.map((hit) => hit.id), ["lamp"]);
assert.ok((await shop.suggest("blu")).includes("blue lamp"));

const listed = [];
for await (const item of shop.items({ price: { gt: 10 } })) listed.push(item.id);
assert.deepEqual(listed, ["lamp"]);
const sorted = [];
for await (const item of shop.items({}, "price:desc")) sorted.push(item.id);
assert.deepEqual(sorted, ["lamp", "mug/1"]);
assert.deepEqual((await shop.similar("mug/1", 5, { price: { lt: 20 } })).hits, []);
assert.equal(await shop.count(), 2);
assert.equal((await shop.get("mug/1")).title, "red mug");
await shop.delete("mug/1");
await assert.rejects(shop.get("mug/1"), { code: "item_not_found" });
await assert.rejects(shop.deleteWhere({ brand: undefined }), { code: "empty_filter" });
assert.equal(await shop.deleteAll(), 1);
console.log("walked");
