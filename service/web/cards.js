// The products in the grid.

import { element, picture, price, stock } from "./dom.js";

// `onOpen` is called with the item and its hit, `onVariants` with the value that the variants share; `addressOf` gives an
// item's address.
export function card(hit, { addressOf, onOpen, onVariants }) {
  const { item, group } = hit;
  return element(
    "li",
    { className: "card" },
    productLink(
      item,
      { href: addressOf(item), onOpen: () => onOpen(item, hit) },
      // Of several pictures, the one that was found.
      element("div", { className: "picture" }, picture(item, hit.explanation?.picture ?? 0)),
      element(
        "div",
        { className: "text" },
        element("p", { className: "path", dir: "auto", textContent: item.category.at(-1) ?? "" }),
        element("h2", { dir: "auto", textContent: item.title || item.id }),
        element("p", { className: "price", textContent: price(item.price) }),
        item.stock === 0 ? element("p", { className: "stock", textContent: stock(item) }) : null,
      ),
    ),
    group?.count > 1 ? variantsOf(hit, onVariants) : null,
  );
}

// A link to a product that shows it here, unless it is to be opened in a tab or window of its own.
export function productLink(item, { href, onOpen }, ...children) {
  const onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    onOpen();
  };
  return element("a", { href, ariaLabel: item.title || item.id, onclick }, ...children);
}

// A way from the best of a style to all of it.
function variantsOf({ item, group }, onVariants) {
  const others = group.count - 1;
  return element("button", {
    type: "button",
    className: "variants",
    textContent: `${others.toLocaleString()} more ${others === 1 ? "variant" : "variants"}`,
    ariaLabel: `${others} more of ${item.title || item.id}`,
    onclick: () => onVariants(group.value),
  });
}

export const skeletons = () =>
  Array.from({ length: 12 }, () =>
    element(
      "li",
      { className: "card skeleton", ariaHidden: "true" },
      element("div", { className: "picture" }),
      element("div", { className: "text" }, element("span"), element("span")),
    ),
  );
