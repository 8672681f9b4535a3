// Small helpers around the DOM. Text goes in as text: nothing here parses HTML.

export const $ = (selector, root = document) => root.querySelector(selector);

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function price(value) {
  return value === null || value === undefined
    ? ""
    : value.toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

export function stock(item) {
  if (item.stock === null || item.stock === undefined) return "";
  return item.stock === 0 ? "Sold out" : `${item.stock.toLocaleString()} in stock`;
}

// The service's highlights, which are escaped text with <mark> and nothing else, as nodes. Only text and marks are
// taken over, so nothing else could come through.
export function marked(html) {
  const { body } = new DOMParser().parseFromString(html, "text/html");
  return [...body.childNodes].map((node) =>
    node.nodeName === "MARK" ? element("mark", { textContent: node.textContent }) : node.textContent,
  );
}

// `alone`, where no title stands beside it.
export function picture(item, number = 0, alone = false) {
  const image = item.images[number];
  const name = item.title || item.id;
  const none = () => element("span", { className: "no-picture", ariaHidden: "true" });
  if (!image) return none();
  return element("img", {
    alt: !alone ? "" : number ? `${name}, picture ${number + 1}` : name,
    loading: alone ? "eager" : "lazy", // before the address, which begins to load
    decoding: "async",
    onerror: ({ target }) => target.replaceWith(none()),
    src: image.url,
  });
}

let fading;
// As a popover it stands over the dialogs that are open. What went wrong stays for as long as it takes to read it.
export function toast(text, { trouble = false } = {}) {
  const node = $("#toast");
  node.hidePopover();
  node.showPopover();
  node.textContent = text;
  node.onclick = () => node.hidePopover();
  clearTimeout(fading);
  fading = setTimeout(node.onclick, trouble ? 12_000 : 3500);
}

// Whether it is files that are dragged, and not text.
export const carriesFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;

// Closes a dialog; focus returns to where it was. Chromium returns it to a box without the caret, and drops what is typed
// until it is focused once more: at once, since a "close" event may come after the first letter.
export function shut(dialog) {
  dialog.close();
  const { activeElement } = document;
  activeElement.blur();
  activeElement.focus({ preventScroll: true });
}

// A dialog closes by its own buttons and by Escape, and, unless it holds somebody's work, by a click `beside` it.
export function closable(dialog, { beside = true } = {}) {
  for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => shut(dialog));
  dialog.addEventListener("cancel", (event) => {
    if (event.target !== dialog) return; // a choice of files within it was cancelled
    event.preventDefault();
    shut(dialog);
  });
  if (!beside) return;
  let pressed; // what a click began on: text may be selected from inside to outside
  dialog.addEventListener("pointerdown", (event) => (pressed = event.target));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog && pressed === dialog) shut(dialog);
  });
}
