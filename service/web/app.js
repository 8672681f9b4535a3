// The page: what is typed becomes a search, answers become cards, and the address keeps the query.

import { getItem, listFields, listItems, search, searchImage } from "./api.js";
import { card, skeletons } from "./cards.js";
import { setUpDetail } from "./detail.js";
import { $, toast } from "./dom.js";
import { setUpFilters } from "./filters.js";
import { demands, explain, explainNothing, outdated, withoutDemands } from "./message.js";
import { setUpPhoto } from "./photo.js";
import { remember, setUpSteps, visit } from "./steps.js";
import { setUpSuggestions } from "./suggest.js";
import { setUpUpload } from "./upload.js";
import { setUpVariants } from "./variants.js";

const PAGE = 24;
const MOST = 100; // products in one answer of the service
const SLOW = 400; // milliseconds after which a search says that it is under way
const PAUSE = 140; // milliseconds without a key before a search starts
const RELEVANT = 0.7; // of the best likeness: what has less is not shown, so that counts are of what fits

const input = $("#query");
const results = $("#results");
const status = $("#status");
const more = $("#more");
const sort = $("#sort");
const instead = $("#instead");

let running = new AbortController(); // the request whose answer will be shown
let shown = { query: "", typed: false, count: 0, cursor: null };

let asked = ""; // the query that is searched for, which may be less than is typed
let verbatim = ""; // a query that is searched for as it was typed
let started = false; // whether the address has been read
let pause = null; // after which what is typed is searched for
let unfinished = false; // whether the last word may be, since it is being typed

const openDetail = setUpDetail({
  onEdit: (item) => openUpload(item),
  onDeleted: () => changed(),
  variantsField: () => variants.shared(),
  addressOf: (item) => address(item),
});
const openUpload = setUpUpload({ onSaved: () => changed() });
const filters = setUpFilters({ onChange: () => go(input.value), ranking: () => ranking() });
const variants = setUpVariants({ onChange: () => go(input.value) });
const photo = setUpPhoto({ onChange: () => go(input.value) });
const suggestions = setUpSuggestions(input, { onChoose: (words) => go(words) });

// The catalogue has changed: what is shown, and what can be filtered by.
function changed() {
  filters.refresh();
  learnFields();
  return load(input.value.trim(), { count: shown.count });
}

// The search where only what is relevant to it is shown.
function ranking() {
  const query = input.value.trim();
  const floor = relevant();
  if (!floor || !(query || photo.get())) return null;
  if (photo.get()) return { photo: { number: photo.number(), file: photo.get() }, query, ...floor };
  return { query, ...floor, correct: query !== verbatim, complete: unfinished };
}

// In the order of a field the service has a floor of its own, higher up. Among variants there is none: the other colours of
// a shirt count, though they are less like a query that names one.
function relevant() {
  if (sort.value) return { sort: order() };
  return variants.matter(filters.filter()) ? null : { relevance_floor: RELEVANT };
}

function order() {
  const [field, order] = sort.value.split(":");
  return [{ field, order }];
}

// What can be done with the fields that there are; what was known stays where they cannot be asked for.
async function learnFields() {
  const answer = await listFields().catch(() => null);
  if (!answer) return;
  const names = new Set(answer.fields.map(({ name }) => name));
  for (const option of sort.options) option.hidden = option.value.startsWith("price") && !names.has("price");
  await variants.learn(names);
  showChoices();
}

function showChoices() {
  const searching = Boolean(input.value.trim() || photo.get());
  sort.options[0].textContent = searching ? "relevance" : "default";
  variants.show(searching);
}

// Replaces the grid, or adds the next page to it. A later call makes the answer to an earlier one void.
// While a query is being `typed`, its last word may be unfinished. As many products as were shown before, `count`, come
// back together, at the position `y`.
async function load(query, { next = false, typed = false, count = 0, y = null } = {}) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  explainNothing();
  more.disabled = true;
  if (query !== shown.query) instead.hidden = true; // it is about the query before
  if (!next && results.childElementCount === 0) results.replaceChildren(...skeletons());
  results.classList.toggle("waiting", !next);
  results.setAttribute("aria-busy", "true");
  const slow = next ? 0 : setTimeout(() => signal.aborted || (status.textContent = "Searching…"), SLOW);
  try {
    const cursor = next ? shown.cursor : null;
    const page = await fetchPages(query, { cursor, typed, count: Math.max(count, PAGE) }, signal);
    if (signal.aborted) return;
    const cards = page.hits.map((hit) => card(hit, { addressOf: address, onOpen: openDetail, onVariants: showVariants }));
    if (next) {
      results.append(...cards);
      takeFocus($("a", cards[0]));
    } else {
      const within = results.contains(document.activeElement);
      results.replaceChildren(...cards);
      if (within) results.focus({ preventScroll: true });
    }
    shown = { query, typed, count: (next ? shown.count : 0) + page.hits.length, cursor: page.cursor };
    remember({ count: shown.count });
    more.hidden = shown.cursor === null;
    if (y !== null) scrollTo({ top: y, behavior: "instant" });
    status.textContent = page.summary(shown.count);
    instead.hidden = !page.corrected;
    instead.textContent = `Search for “${query}” instead`;
    if (shown.count === 0) nothing(query);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    if (next) {
      more.disabled = false;
      takeFocus(more);
      return toast(error.message, { trouble: true }); // the message's place is above all that is there already
    }
    results.replaceChildren();
    more.hidden = true;
    instead.hidden = true;
    status.textContent = "";
    const known = outdated(error, query);
    if (known) $("#answered").textContent = error.message; // the service's own words are for developers
    const again = () => {
      filters.follow();
      learnFields();
      return load(query, { typed });
    };
    const remove = filters.removal(known?.path);
    explain(known?.title ?? "That did not work", known?.text ?? error.message, {
      ...(known ? {} : { "Try again": again }),
      ...(query.length > input.maxLength ? { "Clear the search": () => $("#clear").click() } : {}),
      ...(remove ? { "Remove this filter": remove } : {}),
      ...(photo.get() ? { "Search without the picture": () => photo.clear() } : {}),
      ...(filters.filter() ? { "Clear the filters": () => filters.clear() } : {}),
      ...(variants.field() ? { "Show all variants": () => showAll() } : {}),
    });
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) {
      results.classList.remove("waiting");
      results.removeAttribute("aria-busy");
      more.disabled = false;
    }
  }
}

// Whoever asked for more is at what came of it, unless they went on meanwhile: a disabled button may lose the focus.
function takeFocus(node) {
  if ([document.body, more].includes(document.activeElement)) node?.focus({ preventScroll: true });
}

// As many products as asked for, in as many answers as that takes. Where a later one fails, "Show more" goes on from there.
async function fetchPages(query, { count, ...asked }, signal) {
  let page = await fetchPage(query, { ...asked, limit: Math.min(count, MOST) }, signal);
  const { hits, corrected } = page;
  while (page.cursor !== null && hits.length < count) {
    const rest = { ...asked, cursor: page.cursor, limit: Math.min(count - hits.length, MOST) };
    const further = await fetchPage(query, rest, signal).catch(() => null);
    if (!further) break;
    hits.push(...further.hits);
    page = further;
  }
  return { ...page, hits, corrected };
}

async function fetchPage(query, { cursor, typed, limit }, signal) {
  const image = photo.get();
  showChoices();
  if (!query && !image) {
    const answer = await listItems({ limit, cursor, filter: filters.filter(), sort: sort.value }, signal);
    return {
      hits: answer.items.map((item) => ({ item })),
      cursor: answer.next_cursor,
      summary: (count) => (answer.total ? products(count, answer.total) : ""),
    };
  }
  const request = {
    query,
    limit,
    explain: true,
    ...(cursor ? { cursor } : {}),
    ...(filters.filter() ? { filter: filters.filter() } : {}),
    ...relevant(),
    ...(variants.field() ? { group_by: variants.field() } : {}),
  };
  const own = { highlight: true, correct: query !== verbatim, complete: typed };
  const answer = image ? await searchImage(image, request, signal) : await search({ ...request, ...own }, signal);
  const took = Math.max(1, Math.round(answer.took_ms.total));
  $("#answered").textContent = `Model ${answer.model_id} answered in ${took} ms.`;
  const words = answer.corrected_query || query;
  const of = (words ? ` for “${words}”` : "") + (image ? " like your picture" : "");
  return {
    hits: answer.hits,
    cursor: answer.next_cursor,
    corrected: !typed && !image && answer.corrected_query, // with a picture there is no search without corrections
    summary: (count) => (count ? products(count, answer.total) : "No products") + of,
  };
}

function products(count, total) {
  const all = `${total.toLocaleString()} ${total === 1 ? "product" : "products"}`;
  return count < total ? `${count.toLocaleString()} of ${all}` : all;
}

function showAll() {
  variants.set("");
  return go(input.value);
}

// From the best of a style to all of it.
function showVariants(value) {
  const field = variants.field();
  variants.set("");
  filters.choose(field, value);
}

// Why there is nothing, and the way out of it.
function nothing(query) {
  if (filters.filter()) {
    const without = { "Clear the filters": () => filters.clear() };
    explain(query ? `Nothing for “${query}” with these filters` : "Nothing with these filters", "Take one away to see more.", without);
  } else if (demands(query)) {
    const plain = withoutDemands(query);
    const text = "Words in quotes must be there word for word, and words after a minus must not be.";
    explain(`Nothing for ${query}`, text, plain ? { [`Search for ${plain}`]: () => go(plain) } : {});
  } else if (query || photo.get()) {
    explain("Nothing found", "There is nothing in the shop that could be ranked yet.", { "Add a product": () => openUpload() });
  } else {
    explain("The shop is empty", "Add a product here, or send a whole catalogue to POST /items/bulk.", {
      "Add a product": () => openUpload(),
    });
  }
}

// Of what is searched for, and of a product over it.
function address(item = null) {
  const state = new URLSearchParams();
  if (item) state.set("item", item.id);
  if (asked) state.set("q", asked);
  if (asked && asked === verbatim) state.set("verbatim", 1);
  if (filters.filter()) state.set("filter", JSON.stringify(filters.filter()));
  if (sort.value) state.set("sort", sort.value);
  if (variants.field()) state.set("group", variants.field());
  return state.size ? `/?${state}` : "/";
}

// Shows a query and keeps it in the address.
function go(words, { replace = false, typed = false, ...before } = {}) {
  clearTimeout(pause);
  pause = null;
  const query = words.trim();
  if (input.value.trim() !== query) input.value = query; // a space being typed stays
  asked = query;
  visit(address(), photo.number(), { replace, typed });
  // Who ticks filters goes on from there.
  if (!replace && !$("#filters").contains(document.activeElement)) scrollTo({ top: 0, behavior: "instant" });
  unfinished = typed;
  filters.follow();
  document.title = query ? `${query} – Product search` : "Product search";
  return load(query, { typed, ...before });
}

// Shows what the address says, with the photo of that number, if it is still there, as it was left.
function restore({ photo: number = null, count, y = 0 }) {
  const state = new URLSearchParams(location.search);
  let filter = null;
  try {
    filter = JSON.parse(state.get("filter"));
  } catch {
    // an address that somebody wrote by hand
  }
  filters.set(filter);
  verbatim = state.has("verbatim") ? (state.get("q") ?? "") : "";
  sort.value = state.get("sort") ?? "";
  if (sort.selectedIndex < 0) sort.value = ""; // of an address that somebody wrote by hand
  variants.set(state.get("group") ?? "");
  photo.show(number);
  if (number && !photo.get()) toast("The picture that was searched with is gone: please choose it again.", { trouble: true });
  const early = started ? "" : input.value.trim(); // what was typed before this script ran
  started = true;
  return go(early || (state.get("q") ?? ""), { replace: true, count, y });
}

// How to show the product of an address, or null where there is none.
async function product(id) {
  try {
    const item = await getItem(id);
    return () => openDetail(item);
  } catch (error) {
    toast(error.message, { trouble: true });
    return null;
  }
}

input.addEventListener("input", () => {
  clearTimeout(pause);
  pause = setTimeout(() => $("dialog[open]") || searchTyped(), PAUSE); // over a dialog it would be a step: it waits
});
const searchTyped = () => go(input.value, { typed: true });
const searchWaiting = () => pause && !$("dialog[open]") && searchTyped();
$("#key").addEventListener("close", searchWaiting);

$("#search").addEventListener("submit", (event) => {
  event.preventDefault();
  suggestions.close();
  go(input.value);
});
sort.addEventListener("change", () => go(input.value));
instead.addEventListener("click", () => {
  verbatim = input.value.trim();
  go(verbatim);
  input.focus();
});
more.addEventListener("click", () => load(shown.query, { next: true, typed: shown.typed }));
$("#clear").addEventListener("click", () => {
  go("");
  input.focus();
});
$("#add").addEventListener("click", () => openUpload());
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, dialog[open]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    input.focus();
    input.select();
  }
});
for (const skip of document.querySelectorAll(".skip"))
  skip.addEventListener("click", (event) => {
    event.preventDefault(); // it would be a step of the history, and search again under the focus
    results.focus();
  });

input.focus();
setUpSteps({ onSearch: restore, onProduct: product, onClosed: searchWaiting });
learnFields();
