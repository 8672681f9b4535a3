// Facets as filters: what is ticked narrows every list and search, and stands above the results as chips.

import { listFields, listItems } from "./api.js";
import { $, element } from "./dom.js";

const FACETS = 8; // fields offered
const VALUES = 8; // values of each
const OWN = ["category", "price"]; // offered first; the other fields of an item's own are no help to a shopper
const HIDDEN = ["id", "stock", "created_at", "updated_at", "available"];

// `onChange` is called with nothing, after the filter has changed.
export function setUpFilters({ onChange }) {
  const panel = $("#filters");
  const groups = $(".groups", panel);
  const chips = $("#chips");
  $("details", panel).open = matchMedia("(min-width: 861px)").matches; // on a telephone the products come first
  let chosen = {}; // field → [values], or {gte, lte}
  let names = [];

  const filter = () => (Object.keys(chosen).length ? chosen : null);

  function set(value) {
    chosen = value ?? {};
    showChips();
  }

  function change(name, value) {
    const { [name]: _, ...rest } = chosen;
    chosen = value === null ? rest : { ...rest, [name]: value };
    showChips();
    onChange();
  }

  function toggle(name, value, on) {
    const values = (chosen[name] ?? []).filter((one) => one !== value);
    if (on) values.push(value);
    change(name, values.length ? values : null);
  }

  // Counts of each field are under the other fields' filters, so that a second value can be added to a first.
  async function refresh(fieldsToo = false) {
    if (fieldsToo || !names.length) names = offered(await listFields().catch(() => ({ fields: [] })));
    if (!names.length) return (panel.hidden = true);
    const answers = await Promise.all(
      names.map(async (name) => {
        const { [name]: _, ...others } = chosen;
        const under = Object.keys(others).length ? others : null;
        const answer = await listItems({ limit: 1, filter: under, facets: [name] }).catch(() => null);
        return [name, answer?.facets[name]];
      }),
    );
    const shown = answers.filter(([name, facet]) => facet && isUseful(name, facet)).slice(0, FACETS);
    groups.replaceChildren(...shown.map(([name, facet]) => (name === "price" ? range(name, facet) : ticks(name, facet))));
    panel.hidden = !shown.length;
  }

  // An article number that every item has to itself is no filter.
  function isUseful(name, facet) {
    if (chosen[name]) return true;
    if (name === "price") return facet.min !== null && facet.min < facet.max;
    return facet.values.length > 1 && facet.values[0].count > 1;
  }

  function ticks(name, facet) {
    const values = facet.values.slice(0, VALUES);
    for (const value of chosen[name] ?? []) {
      if (!values.some((one) => one.value === value)) values.push({ value, count: 0 });
    }
    return element(
      "fieldset",
      {},
      element("legend", { textContent: name }),
      ...values.map(({ value, count }) =>
        element(
          "label",
          {},
          element("input", {
            type: "checkbox",
            checked: (chosen[name] ?? []).includes(value),
            onchange: (event) => toggle(name, value, event.target.checked),
          }),
          element("span", { textContent: value.split(" > ").at(-1), title: value }),
          element("small", { textContent: count.toLocaleString() }),
        ),
      ),
    );
  }

  function range(name, facet) {
    const bounds = { ...chosen[name] };
    const box = (bound, label, placeholder) =>
      element("input", {
        type: "number",
        min: 0,
        step: "any",
        inputMode: "decimal",
        ariaLabel: `${label} ${name}`,
        placeholder: String(placeholder ?? ""),
        value: bounds[bound] ?? "",
        onchange: (event) => {
          if (event.target.value === "") delete bounds[bound];
          else bounds[bound] = Number(event.target.value);
          change(name, Object.keys(bounds).length ? bounds : null);
        },
      });
    return element(
      "fieldset",
      { className: "range" },
      element("legend", { textContent: name }),
      element("div", {}, box("gte", "Least", facet.min), element("span", { textContent: "–" }), box("lte", "Most", facet.max)),
    );
  }

  function showChips() {
    const chip = (text, label, remove) =>
      element("li", {}, element("button", { type: "button", ariaLabel: `Remove ${label}`, onclick: remove }, `${text} ×`));
    chips.replaceChildren(
      ...Object.entries(chosen).flatMap(([name, value]) =>
        Array.isArray(value)
          ? value.map((one) => chip(one.split(" > ").at(-1), `${name} ${one}`, () => toggle(name, one, false)))
          : [chip(`${name} ${value.gte ?? "0"} – ${value.lte ?? "…"}`, name, () => change(name, null))],
      ),
    );
  }

  return { filter, set, refresh };
}

function offered({ fields }) {
  const keywords = fields.filter(({ name, kinds }) => kinds.includes("keyword") && !HIDDEN.includes(name) && !OWN.includes(name));
  const own = OWN.filter((name) => fields.some((field) => field.name === name));
  return [...own, ...keywords.map(({ name }) => name)].slice(0, 2 * FACETS);
}
