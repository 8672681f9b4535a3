// Searching with a photograph: from the camera button, a drop anywhere on the page, or the clipboard.

import { $, carriesFiles, toast } from "./dom.js";
import { small } from "./small.js";

const LONGEST = 768; // pixels: more than the model looks at

// `onChange` is called after a photo was given or taken away.
export function setUpPhoto({ onChange }) {
  const holder = $("#photo");
  const image = $("img", holder);
  const file = $("#camera");
  const given = new Map(); // number → photo, for Back to find again
  let number = null;
  let latest = 0;

  function show(one) {
    latest++; // a photo still being read comes too late
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

  async function take(chosen) {
    const turn = ++latest;
    const photo = await small(chosen, LONGEST);
    if (turn !== latest) return;
    if (!photo) return toast(`Not a picture that can be read here: ${chosen.name}`, { trouble: true });
    const one = Date.now(); // no number of before a reload
    given.set(one, photo);
    show(one);
    onChange();
  }

  const pictureIn = (files) => [...(files ?? [])].find(({ type }) => type.startsWith("image/"));

  $("#by-photo").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files[0]) take(file.files[0]);
    file.value = ""; // the same file again is a change too
  });
  $("button", holder).addEventListener("click", () => {
    clear();
    $("#by-photo").focus(); // what was clicked is hidden
  });
  for (const kind of ["dragover", "drop"])
    document.addEventListener(kind, (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault(); // or the browser leaves the page for the file
      if (kind === "dragover" || document.querySelector("dialog[open]")) return; // the upload form takes its own
      const { files } = event.dataTransfer;
      const dropped = pictureIn(files) ?? files[0];
      if (dropped) take(dropped);
    });
  document.addEventListener("paste", (event) => {
    const pasted = pictureIn(event.clipboardData?.files);
    if (pasted && !document.querySelector("dialog[open]")) take(pasted);
  });
  return { get: () => given.get(number) ?? null, number: () => number, show, clear };
}
