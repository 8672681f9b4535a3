// The steps that Back and Forward take: searches, each with its picture, and the dialogs that stand over them.

let shown = ""; // the search that the page shows
let settled = true; // whether it is one of its own, and not one that is still being typed
let returned = Promise.resolve(); // done once the page's own step back is: it would take what is pushed meanwhile
let leaving = null;

const picture = () => history.state?.photo ?? null;
const here = () => JSON.stringify([location.search, picture()]);
const words = (address) => new URL(address, location).searchParams.get("q") ?? "";

// Makes a search a step: a new one, or, to `replace`, the one that there is. Words being `typed` grow in one step, which
// the search that they end in takes over.
export async function visit(address, photo, { replace = false, typed = false } = {}) {
  await returned;
  if (address !== location.pathname + location.search || photo !== picture()) {
    const grown = !settled && words(address) !== words(location);
    history[replace || grown ? "replaceState" : "pushState"]({ photo }, "", address);
  }
  shown = here();
  settled = !typed;
}

// Opens a dialog as a step of its own, so that Back closes it. One that takes another's place takes its step.
export async function openOver(dialog) {
  await returned;
  settled = true;
  history[history.state?.dialog ? "replaceState" : "pushState"]({ photo: picture(), dialog: dialog.id }, "");
  if (dialog.open) return;
  dialog.addEventListener("close", () => history.state?.dialog === dialog.id && back(), { once: true });
  dialog.showModal();
}

function back() {
  returned = new Promise((done) => (leaving = done));
  history.back();
}

// `onSearch` is called with the number of its picture when another search is to be shown.
export function setUpSteps({ onSearch }) {
  window.addEventListener("popstate", () => {
    if (leaving) {
      leaving();
      leaving = null;
      return;
    }
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    if (history.state?.dialog) history.replaceState({ photo: picture() }, ""); // what was closed does not open again
    settled = true;
    if (here() !== shown) onSearch(picture());
  });
  onSearch(picture());
}
