// The page: what is typed becomes a search, answers become cards, and the address keeps the query.

import { listItems, search, searchImage } from "./api.js";
import { setUpDetail } from "./detail.js";
import { $, element, picture, price } from "./dom.js";
import { setUpFilters } from "./filters.js";
import { setUpPhoto } from "./photo.js";
import { setUpSuggestions } from "./suggest.js";
import { setUpUpload } from "./upload.js";

const PAGE = 24;
const PAUSE = 140; // milliseconds without a key before a search starts
const IDEAS = ["red mug", "striped umbrella", "black dress", "polka dot cushion", "blue shoes"];

const input = $("#query");
const results = $("#results");
const status = $("#status");
const message = $("#message");
const more = $("#more");
const sort = $("#sort");

let running = new AbortController(); // the request whose answer will be shown
let shown = { query: "", count: 0, cursor: null };

const openDetail = setUpDetail({ onEdit: (item) => openUpload(item), onDeleted: () => changed() });
const openUpload = setUpUpload({ onSaved: () => changed() });
const filters = setUpFilters({ onChange: () => narrowed() });
const photo = setUpPhoto({ onChange: () => go(input.value) });
const suggestions = setUpSuggestions(input, { onChoose: (words) => go(words) });

// The catalogue has changed: what is shown, and what can be filtered by.
function changed() {
  filters.refresh(true);
  return load(shown.query);
}

function narrowed() {
  filters.refresh();
  return go(input.value);
}

// Replaces the grid, or adds the next page to it. A later call makes the answer to an earlier one void.
async function load(query, next = false) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  message.hidden = true;
  more.disabled = true;
  if (!next && results.childElementCount === 0) results.replaceChildren(...skeletons());
  results.classList.toggle("waiting", !next);
  results.setAttribute("aria-busy", "true");
  try {
    const page = await fetchPage(query, next, signal);
    if (signal.aborted) return;
    const cards = page.items.map(card);
    if (next) {
      results.append(...cards);
      $("button", cards[0])?.focus();
    } else {
      results.replaceChildren(...cards);
    }
    shown = { query, count: (next ? shown.count : 0) + page.items.length, cursor: page.cursor };
    more.hidden = shown.cursor === null;
    status.textContent = page.summary(shown.count);
    if (shown.count === 0) nothing(query);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    if (!next) results.replaceChildren();
    more.hidden = !next;
    status.textContent = "";
    explain("That did not work", error.message, [], () => load(query, next));
  } finally {
    if (!signal.aborted) {
      results.classList.remove("waiting");
      results.removeAttribute("aria-busy");
      more.disabled = false;
    }
  }
}

async function fetchPage(query, next, signal) {
  const cursor = next ? shown.cursor : null;
  const image = photo.get();
  $("#sort-by").hidden = !query && !image;
  if (!query && !image) {
    const answer = await listItems({ limit: PAGE, cursor, filter: filters.filter() }, signal);
    return {
      items: answer.items,
      cursor: answer.next_cursor,
      summary: () => (answer.total ? `${answer.total.toLocaleString()} products` : ""),
    };
  }
  const [field, order] = sort.value.split(":");
  const request = {
    query,
    limit: PAGE,
    ...(cursor ? { cursor } : {}),
    ...(filters.filter() ? { filter: filters.filter() } : {}),
    ...(field ? { sort: [{ field, order }] } : {}),
  };
  const answer = image ? await searchImage(image, request, signal) : await search(request, signal);
  $("#model").textContent = `Model ${answer.model_id}`;
  const corrected = answer.corrected_query ? ` for “${answer.corrected_query}”` : "";
  const took = Math.max(1, Math.round(answer.took_ms.total));
  return {
    items: answer.hits.map((hit) => hit.item),
    cursor: answer.next_cursor,
    summary: (count) =>
      `Best ${count.toLocaleString()} of ${answer.total.toLocaleString()} products${corrected} in ${took} ms`,
  };
}

function card(item) {
  return element(
    "li",
    { className: "card" },
    element(
      "button",
      { type: "button", onclick: () => openDetail(item) },
      element("div", { className: "picture" }, picture(item)),
      element(
        "div",
        { className: "text" },
        element("p", { className: "path", textContent: item.category.at(-1) ?? "" }),
        element("h3", { textContent: item.title || item.id }),
        element("p", { className: "price", textContent: price(item.price) }),
      ),
    ),
  );
}

const skeletons = () =>
  Array.from({ length: 12 }, () =>
    element(
      "li",
      { className: "card skeleton", ariaHidden: "true" },
      element("div", { className: "picture" }),
      element("div", { className: "text" }, element("span"), element("span")),
    ),
  );

function nothing(query) {
  if (filters.filter()) explain("Nothing with these filters", "Take one away to see more.", []);
  else if (query) explain(`Nothing for “${query}”`, "The catalogue is empty, or nothing in it could be ranked.", IDEAS);
  else explain("The shop is empty", "Add a product, or send a catalogue to POST /items.", []);
}

function explain(title, text, ideas, retry = null) {
  $("h2", message).textContent = title;
  $("p", message).textContent = text;
  $(".suggestions", message).replaceChildren(
    ...ideas.map((words) =>
      element("button", { type: "button", className: "button small", textContent: words, onclick: () => go(words) }),
    ),
  );
  const button = $(":scope > button", message);
  button.hidden = !retry;
  button.onclick = retry;
  message.hidden = false;
}

// Shows a query and keeps it in the address; typing replaces the entry, a deliberate search adds one.
function go(words, replace = false) {
  const query = words.trim();
  if (input.value.trim() !== query) input.value = query; // a space being typed stays
  const state = new URLSearchParams();
  if (query) state.set("q", query);
  if (filters.filter()) state.set("filter", JSON.stringify(filters.filter()));
  if (sort.value) state.set("sort", sort.value);
  const address = state.size ? `/?${state}` : "/";
  if (address !== location.pathname + location.search) history[replace ? "replaceState" : "pushState"](null, "", address);
  document.title = query ? `${query} – Product search` : "Product search";
  return load(query);
}

// Shows what the address says.
function restore() {
  const state = new URLSearchParams(location.search);
  let filter = null;
  try {
    filter = JSON.parse(state.get("filter"));
  } catch {
    // an address that somebody wrote by hand
  }
  filters.set(filter);
  filters.refresh();
  sort.value = state.get("sort") ?? "";
  photo.clear();
  return go(state.get("q") ?? "", true);
}

let pause;
input.addEventListener("input", () => {
  clearTimeout(pause);
  pause = setTimeout(() => go(input.value, true), PAUSE);
});
$("#search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(pause);
  suggestions.close();
  go(input.value);
});
sort.addEventListener("change", () => go(input.value));
more.addEventListener("click", () => load(shown.query, true));
$("#add").addEventListener("click", () => openUpload());
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, dialog[open]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    input.focus();
    input.select();
  }
});
window.addEventListener("popstate", restore);

input.focus();
restore();
