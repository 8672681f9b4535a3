// Suggestions under the search box: a combobox as the ARIA practices describe it.

import { suggest } from "./api.js";
import { $, element } from "./dom.js";

// `onChoose` is called with the words that were chosen.
export function setUpSuggestions(input, { onChoose }) {
  const list = $("#suggestions");
  let running = new AbortController();
  let active = -1;

  function close() {
    running.abort();
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function move(step) {
    const places = list.children.length + 1; // one beyond the last is the box itself
    select((active + step + places) % places);
  }

  function select(place) {
    const options = [...list.children];
    active = place;
    options.forEach((option, i) => option.setAttribute("aria-selected", String(i === active)));
    if (options[active]) input.setAttribute("aria-activedescendant", options[active].id);
    else input.removeAttribute("aria-activedescendant");
  }

  function choose(words) {
    close();
    onChoose(words);
  }

  async function update() {
    running.abort();
    running = new AbortController();
    const { signal } = running;
    const typed = input.value.trim();
    if (!typed) return close();
    select(-1); // whoever types is in the box
    const answer = await suggest(typed, signal).catch(() => null); // a nicety: its failure is no news
    if (signal.aborted) return;
    const found = (answer?.suggestions ?? []).filter(({ text }) => text.toLowerCase() !== typed.toLowerCase());
    if (!found.length || document.activeElement !== input) return close();
    const selected = list.children[active] && $("span", list.children[active]).textContent; // since
    list.replaceChildren(
      ...found.map(({ text, kind }, i) =>
        element(
          "li",
          {
            id: `suggestion-${i}`,
            role: "option",
            ariaSelected: "false",
            onpointerdown: (event) => event.preventDefault(), // the box keeps the focus
            onclick: () => choose(text),
          },
          element("span", { textContent: text }),
          element("small", { textContent: kind === "query" ? "searched before" : kind }),
        ),
      ),
    );
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    select(found.findIndex(({ text }) => text === selected));
  }

  input.addEventListener("input", update);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (list.hidden || event.isComposing || event.keyCode === 229) return; // the keys are an input method's
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : active < 0 ? list.children.length : -1);
    } else if (event.key === "Enter" && list.children[active]) {
      event.preventDefault();
      choose($("span", list.children[active]).textContent);
    } else if (event.key === "Escape") {
      event.preventDefault();
      close();
    }
  });
  return { close };
}
