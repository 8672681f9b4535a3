// Facets as filters: what is ticked narrows every list and search, and stands above the results as chips.

import { countHits, listFields, listItems } from "./api.js";
import { $, element, toast } from "./dom.js";
import { fieldName } from "./names.js";
import { VARIANTS } from "./variants.js";

const FACETS = 8; // fields offered
const OPEN = 3; // of them unfolded: the others are a click away
const VALUES = 8; // values of each, before "more"
const SAMPLE = 100; // items whose attributes tell which fields are worth offering
const FIRST = ["category", "price", "available"]; // the other fields of an item's own are no help to a shopper
const STEP = " > ";
const WORDS = { available: "Availability", true: "yes", false: "no" };
const IN_STOCK = { true: "in stock", false: "sold out" };
const BOUNDS = { gte: "from", gt: "over", lte: "up to", lt: "under" };
const STRICT = { gte: "gt", lte: "lt" };

// `onChange` is called with nothing, after the filter has changed. `ranking` gives the search that leaves out what is
// not relevant, or null where everything is shown that the filter lets through.
export function setUpFilters({ onChange, ranking }) {
  const panel = $("#filters");
  const groups = $(".groups", panel);
  const chips = $("#chips");
  const wide = matchMedia("(min-width: 861px)");
  const unfold = () => ($("details", panel).open = wide.matches); // on a telephone the products come first
  let chosen = {}; // field → [values], or a range; and what else somebody wrote in the address
  let fields = new Map(); // name → kinds, of the fields offered
  let latest = 0;
  let counted = ""; // the search and the filter; nothing once that has failed
  const unfolded = new Set(); // fields whose every value is shown
  const opened = new Set(); // of the later fields

  wide.addEventListener("change", unfold);
  unfold();

  const filter = () => (Object.keys(chosen).length ? chosen : null);

  function set(value) {
    chosen = tidied(value);
    showChips();
  }

  function change(name, value) {
    const { [name]: _, ...rest } = chosen;
    chosen = value === null ? rest : { ...chosen, [name]: value };
    showChips();
    onChange();
  }

  function toggle(name, value, on) {
    let values = listed(name).filter((one) => one !== value);
    // A branch of the tree takes the place of what it grows from, and of what grows from it.
    if (name === "category") values = values.filter((one) => !isWithin(one, value) && !isWithin(value, one));
    if (on) values.push(value);
    change(name, values.length ? values : null);
  }

  const listed = (name) => (isList(chosen[name]) ? chosen[name] : []);

  // Counts of each field are under the other fields' filters, so that a second value can be added to a first. Fields
  // that nothing is chosen of are under the same ones, and counted together.
  async function refresh() {
    const turn = ++latest;
    panel.setAttribute("aria-busy", "true");
    const asked = ranking();
    counted = JSON.stringify([asked, chosen]);
    const offered = await offeredFields(filter()).catch(() => null);
    if (turn !== latest) return;
    if (!offered) {
      counted = "";
      panel.removeAttribute("aria-busy");
      return (panel.hidden = true);
    }
    fields = offered;
    const names = [...fields.keys()];
    const free = names.filter((name) => !Object.hasOwn(chosen, name));
    const own = names.filter((name) => !free.includes(name)).map((name) => [name]);
    const answers = await Promise.all(
      (free.length ? [free, ...own] : own).map(async (facets) => {
        const others = Object.entries(chosen).filter(([name]) => !facets.includes(name));
        const under = others.length ? Object.fromEntries(others) : null;
        const answer = asked ? countHits({ ...asked, filter: under ?? {} }, facets) : listItems({ limit: 1, filter: under, facets });
        return (await answer.catch(() => null))?.facets;
      }),
    );
    if (turn === latest) panel.removeAttribute("aria-busy");
    let typing;
    while ((typing = beingTyped())) await left(typing);
    if (turn !== latest) return; // a later filter has its own counts under way
    if (!answers.every(Boolean)) counted = "";
    const focused = panel.contains(document.activeElement) ? document.activeElement.id : "";
    const counts = Object.assign({}, ...answers);
    const shown = names.filter((name) => counts[name] && isUseful(name, counts[name])).slice(0, FACETS);
    groups.replaceChildren(
      ...shown.map((name, i) => {
        const group = (isRange(name) ? range : ticks)(name, counts[name]);
        return i < OPEN ? group : folded(name, group);
      }),
    );
    panel.hidden = !shown.length;
    const again = document.getElementById(focused);
    again?.focus(); // the keyboard stays where it was
    if (again?.type === "number") again.select(); // as Tab did
  }

  // Counts anew if something else is shown than was counted.
  function follow() {
    if (JSON.stringify([ranking(), chosen]) !== counted) refresh();
  }

  // The box in which somebody is at a number: it is not taken away meanwhile.
  function beingTyped() {
    const box = $("input[type=number]:focus", groups);
    return box && (box.value !== box.defaultValue || box.validity.badInput) ? box : null;
  }

  const isRange = (name) => fields.get(name).includes("number") && !fields.get(name).includes("keyword");

  const isBoolean = (name) => !fields.get(name).includes("keyword") && fields.get(name).includes("boolean");

  // An article number that every item has to itself is no filter.
  function isUseful(name, facet) {
    if (chosen[name]) return true;
    if (isRange(name)) return facet.min !== null && facet.min < facet.max;
    return facet.values.length > 1 && (facet.values[0].count > 1 || isBoolean(name));
  }

  function folded(name, group) {
    return element(
      "details",
      {
        className: "group",
        open: opened.has(name) || Object.hasOwn(chosen, name),
        ontoggle: ({ target }) => (target.open ? opened.add(name) : opened.delete(name)),
      },
      element("summary", {}, element("span", { textContent: WORDS[name] ?? name })),
      group,
    );
  }

  function ticks(name, facet) {
    const typed = (value) => (isBoolean(name) ? value === "true" : value);
    const values = facet.values.map(({ value, count }) => ({ value: typed(value), count }));
    for (const value of listed(name)) {
      if (!values.some((one) => one.value === value)) values.push({ value, count: 0 });
    }
    const choices = name === "category" ? branches(values, listed(name)) : values;
    const few = choices.filter(({ value }, i) => i < VALUES || listed(name).includes(value));
    const rest = choices.filter((one) => !few.includes(one));
    const all = unfolded.has(name) || rest.length < 2;
    const button = (textContent, turn, focused) => {
      const onclick = () => {
        turn();
        group.replaceWith(ticks(name, facet));
        document.getElementById(idOf(name, focused.value)).focus();
      };
      return element("button", { type: "button", className: "unfold", textContent, onclick });
    };
    const group = element(
      "fieldset",
      {},
      element("legend", { textContent: WORDS[name] ?? name }),
      ...(all ? choices : few).map((one) => tick(name, one)),
      all ? null : button(`${rest.length} more`, () => unfolded.add(name), rest[0]),
      all && rest.length > 1 ? button("Show fewer", () => unfolded.delete(name), few.at(-1)) : null,
    );
    return group;
  }

  const idOf = (name, value) => `${name}=${value}`;

  function tick(name, { value, count }) {
    const label = element(
      "label",
      {},
      element("input", {
        id: idOf(name, value),
        type: "checkbox",
        checked: listed(name).includes(value),
        onchange: (event) => toggle(name, value, event.target.checked),
      }),
      element("span", { textContent: shortened(name, value), title: String(value) }),
      element("small", { textContent: count.toLocaleString() }),
    );
    if (name === "category") label.style.paddingLeft = `${12 * (depth(value) - 1)}px`;
    return label;
  }

  function range(name, facet) {
    const bounds = isBounds(chosen[name]) ? { ...chosen[name] } : {};
    const isReversed = () => bounds.gte > bounds.lte;
    const mark = () => boxes.forEach((one) => (one.ariaInvalid = one.validity.badInput || isReversed() ? "true" : null));
    const isSound = ({ ariaLabel, validity }) => {
      mark();
      const wrong = validity.badInput ? `${ariaLabel}: this is not a number` : isReversed() ? `Least ${name} is more than most` : "";
      if (wrong) toast(wrong, { trouble: true });
      return !wrong;
    };
    const box = (bound, label, placeholder) =>
      element("input", {
        id: `${name}.${bound}`,
        type: "number",
        min: Math.min(0, facet.min ?? 0),
        step: "any",
        inputMode: "decimal",
        ariaLabel: `${label} ${name}`,
        placeholder: String(placeholder ?? ""),
        defaultValue: bounds[bound] ?? "",
        // What is no number is no change either, to a browser.
        onblur: ({ target }) => target.validity.badInput && isSound(target),
        onkeydown: ({ key, target }) => {
          if (key === "Enter") isSound(target);
        },
        onchange: ({ target }) => {
          if (target.validity.badInput) return void isSound(target);
          target.defaultValue = target.value;
          delete bounds[STRICT[bound]];
          if (target.value === "") delete bounds[bound];
          else bounds[bound] = Number(target.value);
          if (!isSound(target)) return;
          change(name, Object.keys(bounds).length ? bounds : null);
        },
      });
    const boxes = [box("gte", "Least", facet.min), box("lte", "Most", facet.max)];
    mark(); // of an address that somebody wrote by hand
    return element(
      "fieldset",
      { className: "range" },
      element("legend", { textContent: name }),
      element("div", {}, boxes[0], element("span", { textContent: "–" }), boxes[1]),
    );
  }

  function showChips() {
    const chip = (text, label, remove) =>
      element("li", {}, element("button", { type: "button", ariaLabel: `Remove ${label}`, onclick: remove }, `${text} ×`));
    const own = Object.entries(chosen).flatMap(([name, value]) => {
      const text = isBounds(value) ? `${name} ${spoken(value)}` : "filter";
      if (!isList(value)) return chip(text, name, () => change(name, null));
      return value.map((one) => chip(shortened(name, one), `${name} ${one}`, () => toggle(name, one, false)));
    });
    $("summary", panel).textContent = own.length ? `Filters (${own.length})` : "Filters";
    if (own.length > 1) own.push(element("li", {}, element("button", { type: "button", className: "plain", textContent: "Clear all", onclick: clear })));
    const at = [...chips.querySelectorAll("button")].indexOf(document.activeElement);
    chips.replaceChildren(...own);
    if (at < 0) return;
    const buttons = chips.querySelectorAll("button");
    (buttons[Math.min(at, buttons.length - 1)] ?? $("#results")).focus({ preventScroll: true });
  }

  function clear() {
    set(null);
    onChange();
  }

  // Of several filters, what removes the one that a `path` is within, such as `and[0].colour`.
  function removal(path = "") {
    const names = Object.keys(chosen);
    const name = names.find((one) => path.startsWith(one) && ["", ".", "["].includes(path.charAt(one.length)));
    return name && names.length > 1 ? () => change(name, null) : null;
  }

  const choose = (name, value) => change(name, [value]);

  return { filter, set, choose, clear, removal, refresh, follow };
}

// The catalogue's own first, then the attributes that most items have: shops have hundreds, most of them rare.
async function offeredFields(filter) {
  const [{ fields }, { items }] = await Promise.all([listFields(), listItems({ limit: SAMPLE, filter })]);
  const kinds = new Map(fields.map((field) => [field.name, field.kinds]));
  const counts = new Map();
  for (const item of items) {
    for (const name of Object.keys(item.attributes)) {
      const folded = fieldName(name);
      if (kinds.has(folded) && !FIRST.includes(folded) && !VARIANTS.includes(folded)) counts.set(folded, (counts.get(folded) ?? 0) + 1);
    }
  }
  const common = [...counts].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const names = [...FIRST.filter((name) => kinds.has(name)), ...common].slice(0, 2 * FACETS);
  return new Map(names.map((name) => [name, kinds.get(name)]));
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isList = (value) => Array.isArray(value) && !value.some((one) => typeof one === "object");
const isBounds = (value) => isObject(value) && Object.keys(value).every((bound) => bound in BOUNDS);

// A filter as somebody may have written it in the address: a value alone is a list of one, and what is empty is none.
function tidied(filter) {
  const given = Object.entries(isObject(filter) ? filter : {});
  return Object.fromEntries(
    given
      .filter(([, value]) => value !== null && String(value) !== "")
      .map(([name, value]) => [name, typeof value === "object" ? value : [value]])
      .map(([name, value]) => [name, isList(value) && name === "category" ? value.map(String) : value]),
  );
}

// Done once a box has lost the focus, and something else has it.
const left = (box) => new Promise((done) => box.addEventListener("blur", () => setTimeout(done), { once: true }));

const depth = (path) => path.split(STEP).length;
const isWithin = (path, other) => path.startsWith(other + STEP);
const parent = (path) => path.split(STEP).slice(0, -1).join(STEP);

// A tree, opened where something is chosen: a path is shown if it is at the top, or if its parent is chosen or has
// something chosen below it. A single top, which says nothing, is open.
function branches(values, chosen) {
  const tops = values.filter(({ value }) => depth(value) === 1);
  const open = new Set(tops.length === 1 ? [tops[0].value] : []);
  for (const value of chosen) for (let path = value; path; path = parent(path)) open.add(path);
  const below = (top) =>
    values
      .filter(({ value }) => (top ? parent(value) === top && open.has(top) : depth(value) === 1))
      .flatMap((one) => [one, ...below(one.value)]);
  return below("");
}

function shortened(name, value) {
  if (name === "available" && value in IN_STOCK) return IN_STOCK[value];
  return typeof value === "boolean" ? `${name}: ${WORDS[value]}` : String(value).split(STEP).at(-1);
}

function spoken(bounds) {
  if (Object.keys(bounds).sort().join() === "gte,lte") return `${bounds.gte} – ${bounds.lte}`;
  return Object.entries(bounds).map(([bound, value]) => `${BOUNDS[bound]} ${value}`).join(", ");
}
