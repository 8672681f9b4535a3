// The page: what is typed becomes a search, answers become cards, and the address keeps the query.

import { listItems, search } from "./api.js";
import { setUpDetail } from "./detail.js";
import { $, element, picture, price } from "./dom.js";
import { setUpUpload } from "./upload.js";

const PAGE = 24;
const PAUSE = 140; // milliseconds without a key before a search starts
const SUGGESTIONS = ["red mug", "striped umbrella", "black dress", "polka dot cushion", "blue shoes"];

const input = $("#query");
const results = $("#results");
const status = $("#status");
const message = $("#message");
const more = $("#more");

let running = new AbortController(); // the request whose answer will be shown
let shown = { query: "", count: 0, cursor: null };

const openDetail = setUpDetail({ onEdit: (item) => openUpload(item), onDeleted: () => load(shown.query) });
const openUpload = setUpUpload({ onSaved: () => load(shown.query) });

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
    more.hidden = !page.hasMore(shown.count);
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
  if (!query) {
    const answer = await listItems(PAGE, next ? shown.cursor : null, signal);
    return {
      items: answer.items,
      cursor: answer.next_cursor,
      hasMore: () => answer.next_cursor !== null,
      summary: () => (answer.total ? `${answer.total.toLocaleString()} products` : ""),
    };
  }
  const answer = await search(query, PAGE, next ? shown.count : 0, signal);
  $("#model").textContent = `Model ${answer.model_id}`;
  return {
    items: answer.hits.map((hit) => hit.item),
    cursor: null,
    hasMore: (count) => answer.hits.length === PAGE && count < answer.total,
    summary: (count) =>
      `Best ${count.toLocaleString()} of ${answer.total.toLocaleString()} products in ${Math.max(1, Math.round(answer.took_ms.total))} ms`,
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
  if (query) explain(`Nothing for “${query}”`, "The catalogue is empty, or nothing in it could be ranked.", SUGGESTIONS);
  else explain("The shop is empty", "Add a product, or send a catalogue to POST /items.", []);
}

function explain(title, text, suggestions, retry = null) {
  $("h2", message).textContent = title;
  $("p", message).textContent = text;
  $(".suggestions", message).replaceChildren(
    ...suggestions.map((words) =>
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
  const address = query ? `/?q=${encodeURIComponent(query)}` : "/";
  if (address !== location.pathname + location.search) history[replace ? "replaceState" : "pushState"](null, "", address);
  document.title = query ? `${query} – Product search` : "Product search";
  return load(query);
}

let pause;
input.addEventListener("input", () => {
  clearTimeout(pause);
  pause = setTimeout(() => go(input.value, true), PAUSE);
});
$("#search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(pause);
  go(input.value);
});
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
window.addEventListener("popstate", () => go(new URLSearchParams(location.search).get("q") ?? "", true));

input.focus();
go(new URLSearchParams(location.search).get("q") ?? "", true);
