// The steps that Back and Forward take: searches, each with its picture, and the dialogs that stand over them.

import { shut } from "./dom.js";

const DOUBLE_CLICK = 600; // milliseconds, as slow as systems let it be
const SCROLLED = 150; // milliseconds without scrolling after which a position is remembered

let shown = ""; // the search that the page shows
let settled = true; // whether it is one of its own, and not one that is still being typed
let returned = Promise.resolve(); // done once the page's own step back is: it would take what is pushed meanwhile
let leaving = null;
let whenClosed; // called when a dialog was
let opened = 0; // when a dialog last was, or showed something else

const picture = () => history.state?.photo ?? null;
const here = () => JSON.stringify([beneath(), picture()]);
const product = () => new URLSearchParams(location.search).get("item");
const words = (address) => new URL(address, location).searchParams.get("q") ?? "";

// The address of the search that the page shows, without the product that may be open over it.
function beneath() {
  const state = new URLSearchParams(location.search);
  state.delete("item");
  return state.size ? `/?${state}` : "/";
}

// Keeps with the step what brings it back as it was left.
export const remember = (values) => history.replaceState({ ...history.state, ...values }, "");

// Makes a search a step: a new one, or, to `replace`, the one that there is. Words being `typed` grow in one step, which
// the search that they end in takes over.
export async function visit(address, photo, { replace = false, typed = false } = {}) {
  await returned;
  const isAnother = (address !== beneath() || photo !== picture()) && !(replace && product());
  if (isAnother) {
    const grown = !settled && words(address) !== words(location);
    history[replace || grown ? "replaceState" : "pushState"]({ photo }, "", address);
  }
  shown = here();
  if (isAnother || !typed) settled = !typed; // a letter typed and taken back leaves the step what it was
}

// Opens a dialog as a step of its own, so that Back closes it. One that takes another's place takes its step. What has an
// `address` can be come back to.
export async function openOver(dialog, address) {
  await returned;
  settled = true;
  opened = performance.now();
  history[history.state?.dialog ? "replaceState" : "pushState"]({ ...history.state, dialog: dialog.id }, "", address);
  if (dialog.open) return;
  dialog.addEventListener("close", () => closed(dialog), { once: true });
  dialog.showModal();
}

function closed(dialog) {
  if (history.state?.dialog === dialog.id) back();
  // What the focus was on before may be gone, as a card is that newer results took the place of.
  const { activeElement } = document;
  if (activeElement === document.body || dialog.contains(activeElement))
    document.querySelector("#results").focus({ preventScroll: true });
  whenClosed();
}

export function back() {
  returned = new Promise((done) => (leaving = done));
  history.back();
}

// The second click of a double one was meant for what the first one was on, and not for what is there since.
function ignoreDoubleClicks(dialog) {
  const ignore = (event) => {
    if (event.detail < 2 || event.timeStamp - opened > DOUBLE_CLICK) return;
    event.preventDefault();
    event.stopPropagation();
  };
  dialog.addEventListener("click", ignore, true);
}

// `onSearch` is called with the step's state when another search is to be shown: the number of its `photo`, and what was
// remembered of it. `onProduct` is called with the id of one that is to be shown over it, and gives a function
// that does, or null; `onClosed` when a dialog was closed.
export function setUpSteps({ onSearch, onProduct, onClosed }) {
  whenClosed = onClosed;
  document.querySelectorAll("dialog").forEach(ignoreDoubleClicks);
  window.addEventListener("popstate", () => {
    if (leaving) {
      leaving();
      leaving = null;
      return;
    }
    for (const dialog of document.querySelectorAll("dialog[open]")) shut(dialog);
    if (history.state?.dialog && !product()) remember({ dialog: null }); // what was closed does not open again
    settled = true;
    if (here() !== shown) onSearch(history.state ?? {});
    showProduct();
  });
  history.scrollRestoration = "manual"; // the browser's own comes before the results do
  let resting;
  window.addEventListener("scroll", () => {
    clearTimeout(resting);
    resting = setTimeout(() => remember({ y: scrollY }), SCROLLED); // browsers allow only so many changes of a step
  });
  if (!product() && history.state?.dialog) back(); // a form that did not outlive a reload
  if (product() && !history.state?.dialog) {
    // Somebody came by the address of a product: its search is the step before.
    const address = location.href;
    history.replaceState(null, "", beneath());
    history.pushState({ dialog: "detail" }, "", address);
  }
  onSearch(history.state ?? {});
  showProduct();

  async function showProduct() {
    const id = product();
    if (!id) return;
    const show = await onProduct(id);
    if (product() !== id) return;
    if (show) show();
    else back();
  }
}
