// Searching with a photograph: from the camera button, a drop anywhere on the page, or the clipboard.

import { $ } from "./dom.js";

// `onChange` is called after a photo was given or taken away.
export function setUpPhoto({ onChange }) {
  const holder = $("#photo");
  const image = $("img", holder);
  const file = $("#camera");
  let photo = null;

  function set(chosen, quietly = false) {
    if (image.src) URL.revokeObjectURL(image.src);
    photo = chosen;
    holder.hidden = !chosen;
    holder.parentElement.classList.toggle("with-photo", Boolean(chosen));
    if (chosen) image.src = URL.createObjectURL(chosen);
    else image.removeAttribute("src");
    if (!quietly) onChange();
  }

  const pictureIn = (items) => [...(items ?? [])].find((one) => /^image\/(jpeg|png|webp)$/.test(one.type));

  $("#by-photo").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files[0]) set(file.files[0]);
    file.value = ""; // the same file again is a change too
  });
  $("button", holder).addEventListener("click", () => set(null));
  document.addEventListener("dragover", (event) => {
    if (!document.querySelector("dialog[open]")) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    if (document.querySelector("dialog[open]")) return; // the upload form takes its own
    event.preventDefault();
    const dropped = pictureIn(event.dataTransfer?.files);
    if (dropped) set(dropped);
  });
  document.addEventListener("paste", (event) => {
    const pasted = pictureIn(event.clipboardData?.files);
    if (pasted && !document.querySelector("dialog[open]")) set(pasted);
  });
  return { get: () => photo, clear: () => photo && set(null, true) };
}
