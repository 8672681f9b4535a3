// The API key of a service that asks for one. It is kept for this tab alone, and forgotten with it.

import { $, closable } from "./dom.js";

const NAME = "api-key";
const SENDABLE = /^[\x21-\x7e]+$/; // in a header; a browser sends nothing at all with a typographic quote in one

export const keyHeader = () => {
  const key = sessionStorage.getItem(NAME);
  return key ? { "X-API-Key": key } : {};
};

let asking = null; // several calls that are refused at once ask together

let declined = false; // until something is asked for by a button or by Enter: who types is not to be interrupted again

const ask = () => (declined = false);
document.addEventListener("submit", ask, true);
document.addEventListener("click", ({ target }) => target.closest("button") && ask(), true);

// Resolves to whether a key was given, once somebody has said.
export function askForKey(why) {
  if (declined) return false;
  asking ??= new Promise((resolve) => {
    const dialog = $("#key");
    const form = $("form", dialog);
    $(".problem", dialog).textContent = why;
    form.reset();
    let given = false;
    form.onsubmit = (event) => {
      event.preventDefault();
      const key = form.elements.key.value.trim();
      if (!SENDABLE.test(key)) {
        $(".problem", dialog).textContent = "This is not a key: it has a space or a character that no key has.";
        return;
      }
      sessionStorage.setItem(NAME, key);
      given = true;
      dialog.close();
    };
    dialog.addEventListener("close", () => {
      declined = !given;
      // Chromium returns the focus to a box without the caret, and drops what is typed then.
      const { activeElement } = document;
      activeElement.blur();
      activeElement.focus({ preventScroll: true });
      resolve(given);
    }, { once: true });
    dialog.showModal();
  }).finally(() => (asking = null));
  return asking;
}

closable($("#key"));
