// Searching with a photograph: from the camera button, a drop anywhere on the page, or the clipboard.

import { $ } from "./dom.js";

// `onChange` is called after a photo was given or taken away.
export function setUpPhoto({ onChange }) {
  const holder = $("#photo");
  const image = $("img", holder);
  const file = $("#camera");
  const given = new Map(); // number → photo, for Back to find again
  let number = null;

  function show(one) {
    if (image.src) URL.revokeObjectURL(image.src);
    const photo = given.get(one);
    number = photo ? one : null;
    holder.hidden = !photo;
    holder.parentElement.classList.toggle("with-photo", Boolean(photo));
    if (photo) image.src = URL.createObjectURL(photo);
    else image.removeAttribute("src");
  }

  function clear() {
    show(null);
    onChange();
  }

  function take(photo) {
    const one = Date.now(); // no number of before a reload
    given.set(one, photo);
    show(one);
    onChange();
  }

  const pictureIn = (files) => [...(files ?? [])].find(({ type }) => /^image\/(jpeg|png|webp)$/.test(type));

  $("#by-photo").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files[0]) take(file.files[0]);
    file.value = ""; // the same file again is a change too
  });
  $("button", holder).addEventListener("click", () => {
    clear();
    $("#by-photo").focus(); // what was clicked is hidden
  });
  document.addEventListener("dragover", (event) => {
    if (!document.querySelector("dialog[open]")) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    if (document.querySelector("dialog[open]")) return; // the upload form takes its own
    event.preventDefault();
    const dropped = pictureIn(event.dataTransfer?.files);
    if (dropped) take(dropped);
  });
  document.addEventListener("paste", (event) => {
    const pasted = pictureIn(event.clipboardData?.files);
    if (pasted && !document.querySelector("dialog[open]")) take(pasted);
  });
  return { get: () => given.get(number) ?? null, number: () => number, show, clear };
}
