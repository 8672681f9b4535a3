// The API keys of a service that asks for them, one for each scope. They are kept for this tab alone, and forgotten with it.

import { $, closable, shut } from "./dom.js";

const PURPOSES = { search: "To search and to see products", ingest: "To save and to delete products" }; // of the scopes
const REASONS = { key_unknown: "The key that was given is not, or no longer, known.", wrong_scope: "The key that was given before is not for that." };
const SENDABLE = /^[\x21-\x7e]+$/; // in a header; a browser sends nothing at all with a typographic quote in one

const keptAs = (scope) => `${scope}-key`;

// A key for one scope may be for the other, too: nobody is asked for the second before it is refused.
export const keyHeader = (scope) => {
  const key = [scope, ...Object.keys(PURPOSES)].map((one) => sessionStorage.getItem(keptAs(one))).find(Boolean);
  return key ? { "X-API-Key": key } : {};
};

let asking = null; // several calls that are refused at once ask together

let declined = false; // until something is asked for by a button or by Enter: who types is not to be interrupted again

const ask = () => (declined = false);
document.addEventListener("submit", ask, true);
document.addEventListener("click", ({ target }) => target.closest("button") && ask(), true);

// Resolves to whether a key of the scope was given, once somebody has said; `refused` is the service's code of why.
export function askForKey(scope, refused) {
  if (declined) return false;
  asking ??= new Promise((resolve) => {
    const dialog = $("#key");
    const form = $("form", dialog);
    $(".hint", dialog).textContent = `${PURPOSES[scope]}, this service takes an API key for ${scope}.`;
    $("label span", dialog).textContent = `API key for ${scope}`;
    $(".problem", dialog).textContent = REASONS[refused] ?? "";
    form.reset();
    let given = false;
    form.onsubmit = (event) => {
      event.preventDefault();
      const key = form.elements.key.value.trim();
      if (!SENDABLE.test(key)) {
        $(".problem", dialog).textContent = "This is not a key: it has a space or a character that no key has.";
        return;
      }
      sessionStorage.setItem(keptAs(scope), key);
      given = true;
      shut(dialog);
    };
    dialog.addEventListener("close", () => {
      declined = !given;
      resolve(given);
    }, { once: true });
    dialog.showModal();
  }).finally(() => (asking = null));
  return asking;
}

closable($("#key"));
