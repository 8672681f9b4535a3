// The form that adds a product, or changes one.

import { ApiError, changeItem, getItem, listFields, saveItem } from "./api.js";
import { $, carriesFiles, closable, element, shut, toast } from "./dom.js";
import { fieldName } from "./names.js";
import { small } from "./small.js";
import { openOver } from "./steps.js";

const LONGEST = 2048; // pixels of a picture: twice of what the service keeps
const NUMBERS = ["price", "stock"];
const FIELDS = ["id", "title", "description", "category", ...NUMBERS];

export function setUpUpload({ onSaved }) {
  const dialog = $("#upload");
  const form = $("form", dialog);
  const drop = $(".drop", dialog);
  const problem = $(".problem", dialog);
  const submit = $("[type=submit]", dialog);
  let pictures = []; // files, and the edited item's own as it has them
  let rows = []; // of attributes
  let edited = null; // the item as it was when the form was opened
  let filled = {}; // what the boxes held then: the item's own texts may have line breaks, which boxes drop
  let fields = null; // a promise of them: name → kinds
  let opening = 0;
  let draft = null; // of what the form holds unsaved work, if it was closed by other means than Cancel
  let reading = Promise.resolve(); // done once the files given so far are pictures here
  closable(dialog, { beside: false });

  // One after another: unpacked, a telephone's photographs are large.
  function addFiles(list) {
    const [files, turn] = [[...list], opening];
    reading = reading.then(() => read(files, turn));
  }

  async function read(files, turn) {
    const refused = [];
    for (const file of files) {
      const picture = await small(file, LONGEST);
      if (turn !== opening) return;
      if (picture) pictures.push(picture);
      else refused.push(file.name);
    }
    showPictures();
    say(refused.length ? `Not a picture that can be read here: ${refused.join(", ")}` : "");
  }

  // `way` out of it: a button, if there is one.
  function say(text, way = "") {
    problem.replaceChildren(text, way);
    if (text) problem.scrollIntoView({ block: "nearest" });
  }

  function showPictures() {
    for (const image of dialog.querySelectorAll(".previews img")) URL.revokeObjectURL(image.src);
    $(".previews", dialog).replaceChildren(
      ...pictures.map((one, i) => {
        const name = one.name ?? `picture-${edited.images.indexOf(one) + 1}.jpg`;
        return element(
          "li",
          {},
          element("img", { src: one.url ?? URL.createObjectURL(one), alt: name }),
          element("button", {
            type: "button",
            textContent: "×",
            ariaLabel: `Remove ${name}`,
            onclick: () => {
              pictures.splice(i, 1);
              showPictures();
              const buttons = dialog.querySelectorAll(".previews button");
              (buttons[Math.min(i, buttons.length - 1)] ?? $("#files")).focus();
            },
          }),
        );
      }),
    );
  }

  // `own` is the attribute's name, where the item has it already.
  function addRow(own = null) {
    const name = element("input", { value: own ?? "", placeholder: "colour" });
    const text = element("input", { placeholder: "red" });
    if (own !== null) text.value = written(edited.attributes[own]);
    const remove = element("button", { type: "button", textContent: "×" });
    const row = { own, name, text, remove, filled: { name: name.value, text: text.value } };
    const node = element("div", { className: "row" }, name, text, remove);
    remove.addEventListener("click", () => {
      const i = rows.indexOf(row);
      rows.splice(i, 1);
      node.remove();
      numberRows();
      (rows[Math.min(i, rows.length - 1)]?.remove ?? $("[data-row]", dialog)).focus();
    });
    rows.push(row);
    numberRows();
    $(".rows", dialog).append(node);
    return row;
  }

  // For those who hear the names of boxes and buttons alone.
  function numberRows() {
    rows.forEach(({ name, text, remove }, i) => {
      name.ariaLabel = `Attribute name ${i + 1}`;
      text.ariaLabel = `Attribute value ${i + 1}`;
      remove.ariaLabel = `Remove attribute ${i + 1}`;
    });
  }

  $("#files").addEventListener("change", (event) => {
    addFiles(event.target.files);
    event.target.value = "";
  });
  $("[data-row]", dialog).addEventListener("click", () => addRow().name.focus());
  for (const kind of ["dragover", "dragleave", "drop"])
    dialog.addEventListener(kind, (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") addFiles(event.dataTransfer.files);
    });
  dialog.addEventListener("paste", ({ clipboardData: { files, types } }) => {
    if (files.length && !types.includes("text/plain")) addFiles(files); // what has words too is pasted as words
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });

  // To `replace` the product that has a new one's id.
  async function save({ replace = false } = {}) {
    if (submit.ariaDisabled) return;
    for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    problem.textContent = "";
    submit.ariaDisabled = "true"; // `disabled` would take the focus from it
    const [item, turn, product] = [edited, opening, draft];
    draft = null; // or it would be saved twice
    const isOpen = () => turn === opening && dialog.open; // and not again, for another product
    try {
      const unread = [...form.elements].filter((field) => field.validity.badInput); // their values would be empty
      const numbers = unread.map((box) => ({ field: box.name, box, message: "this is not a number" }));
      const problems = [...numbers, ...rowProblems()];
      if (problems.length) throw new ApiError("", problems);
      await reading;
      if (isEmpty()) throw new Error("Give a picture or some text.");
      const kinds = await fields;
      if (!isOpen()) return (draft ??= product);
      const saved = item ? await changeItem(item, await changes(kinds)) : await saveItem(whole(kinds), { replace });
      if (isOpen()) shut(dialog);
      toast(`${saved.title || saved.id} is ${saved.updated_at !== saved.created_at ? "saved" : "in the shop"}.`);
      onSaved(saved);
    } catch (error) {
      draft ??= product; // unless the form holds another's by now
      if (!isOpen()) return toast(`The product is not saved: ${error.message}`, { trouble: true });
      if (error.status === 412) return taken(item, error);
      const fields = error.fields ?? [];
      say(fields.map((one) => `${one.field}: ${one.message}`).join("\n") || error.message);
      const wrong = fields.map((one) => one.box ?? form.elements[one.field]).filter((box) => box?.matches?.("input, textarea"));
      for (const field of wrong) field.setAttribute("aria-invalid", "true");
      wrong[0]?.focus();
    } finally {
      if (turn === opening) submit.ariaDisabled = null;
    }
  }

  // Somebody else's product, or change, would be overwritten.
  function taken(item, error) {
    const way = (textContent, onclick) => element("button", { type: "button", className: "plain", textContent, onclick });
    if (item) return say(error.message, way("Load the newer one", () => reopen(item)));
    const replace = way("Replace it", () => {
      submit.focus(); // this button goes away
      save({ replace: true });
    });
    say("There is already a product with this id. ", replace);
    form.elements.id.setAttribute("aria-invalid", "true");
    form.elements.id.focus();
  }

  // Whether nothing could find the product: neither a number nor an id is text.
  function isEmpty() {
    const texts = [...["title", "description", "category"].map((name) => form.elements[name]), ...rows.map(({ text }) => text)];
    return !pictures.length && !texts.some((box) => box.value.trim());
  }

  // A new product.
  function whole(kinds) {
    const body = new FormData();
    for (const name of FIELDS)
      if (form.elements[name].value.trim()) body.append(name, form.elements[name].value.trim());
    if (!body.has("id")) body.append("id", slug(body.get("title") ?? body.get("description") ?? ""));
    const attributes = changedAttributes(kinds);
    if (Object.keys(attributes).length) body.append("attributes", JSON.stringify(attributes));
    for (const file of pictures) body.append("image", file);
    return body;
  }

  // What is not sent stays as it is: pictures would be encoded, and named, anew.
  async function changes(kinds) {
    const touched = FIELDS.filter((name) => form.elements[name].value !== filled[name]);
    const changed = Object.fromEntries(touched.map((name) => [name, valueOf(name)]));
    const attributes = changedAttributes(kinds);
    if (Object.keys(attributes).length) changed.attributes = attributes;
    if (pictures.length !== edited.images.length || pictures.some((one, i) => one !== edited.images[i]))
      changed.images = await Promise.all(pictures.map(async (one) => inBase64(one.url ? await fetched(one) : one)));
    return changed;
  }

  function valueOf(name) {
    const text = form.elements[name].value.trim();
    if (!NUMBERS.includes(name)) return text;
    return text ? Number(text) : null;
  }

  // The name that a row gives its attribute.
  const nameOf = ({ own, name, filled }) => (own !== null && name.value === filled.name ? own : name.value.trim());

  // Of such rows nothing would be saved, and nobody told.
  function rowProblems() {
    const names = rows.map(nameOf);
    return rows.flatMap((row, i) => {
      const problem = (box, message) => ({ field: `Attribute ${i + 1}`, box, message });
      const [name, text] = [names[i], row.text.value.trim()];
      if (text && !name) return problem(row.name, "it has a value and no name");
      if (name && names.indexOf(name) < i) return problem(row.name, `there is already one with the name “${name}”`);
      if (name && !text && !isUntouched(row)) return problem(row.text, `give “${name}” a value, or remove it`);
      return [];
    });
  }

  // Null for those that no row is about any more.
  function changedAttributes(kinds) {
    const before = edited?.attributes ?? {};
    const kindsOf = (name) =>
      Object.hasOwn(before, name) ? [kindOf(before[name])] : (kinds.get(fieldName(name)) ?? []);
    const kept = rows.filter(isUntouched).map(({ own }) => own);
    const removed = Object.keys(before).filter((name) => !kept.includes(name));
    const changed = rows
      .filter((row) => !isUntouched(row) && row.name.value.trim() && row.text.value.trim())
      .map((row) => {
        const { own, text, filled } = row;
        const called = nameOf(row);
        const isSame = own !== null && text.value === filled.text;
        return [called, isSame ? before[own] : typed(text.value.trim(), kindsOf(own ?? called))];
      });
    return Object.fromEntries([...removed.map((name) => [name, null]), ...changed]);
  }

  $("[data-discard]", dialog).addEventListener("click", () => (draft = null));

  // Without an item the form is empty; with one it holds that item's fields and pictures. What was typed for the same
  // product before, and neither saved nor cancelled, is there still.
  async function open(item = null) {
    const product = item ? `${item.id} ${item.version}` : "new";
    if (draft === product) return openOver(dialog);
    draft = product;
    opening++;
    form.reset();
    pictures = [...(item?.images ?? [])];
    rows = [];
    edited = item;
    fields = listFields().then(
      (answer) => new Map(answer.fields.map(({ name, kinds }) => [name, kinds])),
      () => new Map(),
    );
    problem.textContent = "";
    submit.ariaDisabled = null; // an earlier product may be on its way still
    for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    $("#upload-title").textContent = item ? "Edit the product" : "Add a product";
    $(".rows", dialog).replaceChildren();
    form.elements.id.readOnly = Boolean(item);
    if (item) {
      for (const name of ["id", "title", "description"]) form.elements[name].value = item[name];
      form.elements.category.value = item.category.join(" > ");
      for (const name of NUMBERS) form.elements[name].value = item[name] ?? "";
      for (const name of Object.keys(item.attributes)) addRow(name);
    } else {
      addRow();
    }
    filled = Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value]));
    showPictures();
    await openOver(dialog);
  }

  // The button that asked for it goes away.
  const reopen = ({ id }) =>
    getItem(id)
      .then(open)
      .then(() => form.elements.title.focus(), (error) => say(error.message));

  return open;
}

const isUntouched = ({ own, name, text, filled }) =>
  own !== null && name.value === filled.name && text.value === filled.text;

const written = (value) => (Array.isArray(value) ? value.join(", ") : String(value));

const kindOf = (value) => (Array.isArray(value) ? "list" : typeof value);

// What is typed for an attribute, as the kind of value that it had before, or has in all other items: a single text
// would make a field of words of one of numbers.
function typed(text, kinds) {
  if (kinds.includes("list")) return text.split(",").map((one) => one.trim()).filter(Boolean);
  if (kinds.includes("keyword")) return text;
  if (kinds.includes("number") && Number.isFinite(Number(text))) return Number(text);
  if (kinds.includes("boolean") && ["true", "false"].includes(text)) return text === "true";
  return text;
}

async function fetched(image) {
  const response = await fetch(image.url).catch(() => null);
  if (!response?.ok) throw new Error("The product's pictures could not be loaded, so they cannot be changed now.");
  return response.blob();
}

function inBase64(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(reader.error);
    reader.readAsDataURL(file);
  });
}

const slug = (words) =>
  (words.toLowerCase().normalize("NFC").replace(/[^\p{L}\p{M}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "product") +
  "-" + Math.random().toString(36).slice(2, 6);
