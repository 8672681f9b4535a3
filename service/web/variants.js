// Variants: a shirt that is sold in several colours can be shown once.

import { listItems } from "./api.js";
import { $ } from "./dom.js";

// What shops call the field that the variants of one thing share; the first is its name in Google's product feeds.
export const VARIANTS = ["item_group_id", "item group id", "style_id", "style id", "style code", "style number", "parent_id", "parent id"];
const MOST = 50; // variants of one thing: a field with more of one value says something else

// `onChange` is called after the switch was turned.
export function setUpVariants({ onChange }) {
  const label = $("#one-per-style");
  const box = $("input", label);
  let field = ""; // that the catalogue has
  let chosen = ""; // by which hits are collapsed, if they are

  function set(name) {
    chosen = name;
    box.checked = Boolean(name);
  }

  box.addEventListener("change", () => {
    set(box.checked ? field : "");
    onChange();
  });

  // Only a search ranks, so only its hits have a best one of each style.
  const show = (searching) => (label.hidden = !searching || !(field || chosen));

  // Looks which field it is, given the names of all.
  async function learn(names) {
    const name = VARIANTS.find((one) => names.has(one));
    if (!name) return (field = "");
    const answer = await listItems({ limit: 1, facets: [name] }).catch(() => null);
    if (!answer) return;
    const most = answer.facets[name].values[0]?.count ?? 0;
    field = most > 1 && most <= MOST ? name : "";
  }

  // Whether the variants of a thing matter now: one stands for all, or a filter asks for those of one.
  const matter = (filter) => Boolean(chosen || VARIANTS.some((name) => Object.hasOwn(filter ?? {}, name)));

  return { field: () => chosen, shared: () => field, matter, set, show, learn };
}
