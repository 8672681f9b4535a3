// The form that adds a product or replaces one.

import { ApiError, saveItem } from "./api.js";
import { $, carriesFiles, closable, element, toast } from "./dom.js";
import { PICTURES } from "./small.js";
import { openOver } from "./steps.js";

export function setUpUpload({ onSaved }) {
  const dialog = $("#upload");
  const form = $("form", dialog);
  const drop = $(".drop", dialog);
  const problem = $(".problem", dialog);
  const submit = $("[type=submit]", dialog);
  let files = [];
  let edited = null; // the item as it was when the form was opened
  closable(dialog, { beside: false });

  function addFiles(list) {
    const refused = [...list].filter((file) => !PICTURES.has(file.type));
    files.push(...[...list].filter((file) => PICTURES.has(file.type)));
    problem.textContent = refused.length ? `Not a JPEG, PNG or WebP picture: ${refused.map((f) => f.name).join(", ")}` : "";
    showFiles();
  }

  function showFiles() {
    for (const image of dialog.querySelectorAll(".previews img")) URL.revokeObjectURL(image.src);
    $(".previews", dialog).replaceChildren(
      ...files.map((file, i) =>
        element(
          "li",
          {},
          element("img", { src: URL.createObjectURL(file), alt: file.name }),
          element("button", {
            type: "button",
            textContent: "×",
            ariaLabel: `Remove ${file.name}`,
            onclick: () => {
              files.splice(i, 1);
              showFiles();
            },
          }),
        ),
      ),
    );
  }

  function addRow(name = "", value = "") {
    const row = element(
      "div",
      { className: "row" },
      element("input", { value: name, placeholder: "colour", ariaLabel: "Attribute name" }),
      element("input", { value, placeholder: "red", ariaLabel: "Attribute value" }),
      element("button", { type: "button", textContent: "×", ariaLabel: "Remove attribute", onclick: () => row.remove() }),
    );
    $(".rows", dialog).append(row);
    return row;
  }

  $("#files").addEventListener("change", (event) => {
    addFiles(event.target.files);
    event.target.value = "";
  });
  $("[data-row]", dialog).addEventListener("click", () => $("input", addRow()).focus());
  for (const kind of ["dragover", "dragleave", "drop"])
    dialog.addEventListener(kind, (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") addFiles(event.dataTransfer.files);
    });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    problem.textContent = "";
    submit.disabled = true;
    try {
      const unread = [...form.elements].filter((field) => field.validity.badInput); // their values would be empty
      const problems = unread.map(({ name }) => ({ field: name, message: "this is not a number" }));
      if (problems.length) throw new ApiError("", problems);
      const saved = await saveItem(fieldsOf(), edited?.version);
      dialog.close();
      toast(saved.updated_at !== saved.created_at ? `${saved.title || saved.id} is replaced.` : `${saved.title || saved.id} is in the shop.`);
      onSaved(saved);
    } catch (error) {
      const fields = error.fields ?? [];
      problem.textContent = fields.map((one) => `${one.field}: ${one.message}`).join("\n") || error.message;
      const wrong = fields.map((one) => form.elements[one.field]).filter((field) => field?.name);
      for (const field of wrong) field.setAttribute("aria-invalid", "true");
      wrong[0]?.focus();
    } finally {
      submit.disabled = false;
    }
  });

  function fieldsOf() {
    const body = new FormData();
    for (const name of ["id", "title", "description", "category", "price", "stock"])
      if (form.elements[name].value.trim()) body.append(name, form.elements[name].value.trim());
    if (!body.has("id") && body.has("title")) body.append("id", slug(body.get("title")));
    const pairs = [...dialog.querySelectorAll(".row")]
      .map((row) => [...row.querySelectorAll("input")].map((input) => input.value.trim()))
      .filter(([name, value]) => name && value)
      .map(([name, text]) => [name, typed(text, edited?.attributes[name])]);
    if (pairs.length) body.append("attributes", JSON.stringify(Object.fromEntries(pairs)));
    for (const file of files) body.append("image", file);
    return body;
  }

  // Without an item the form is empty; with one it holds that item's fields and pictures.
  return async (item = null) => {
    form.reset();
    files = [];
    edited = item;
    problem.textContent = "";
    for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    $("#upload-title").textContent = item ? "Edit the product" : "Add a product";
    $(".rows", dialog).replaceChildren();
    form.elements.id.readOnly = Boolean(item);
    if (item) {
      for (const name of ["id", "title", "description"]) form.elements[name].value = item[name];
      form.elements.category.value = item.category.join(" > ");
      for (const name of ["price", "stock"]) form.elements[name].value = item[name] ?? "";
      for (const [name, value] of Object.entries(item.attributes)) addRow(name, written(value));
    } else {
      addRow();
    }
    showFiles();
    await openOver(dialog);
    if (item) {
      submit.disabled = true; // saving before the pictures are here would drop them
      try {
        files = await Promise.all(item.images.map(fetchPicture));
        showFiles();
        submit.disabled = false;
      } catch {
        problem.textContent = "The product's pictures could not be loaded, so it cannot be edited here now.";
      }
    }
  };
}

const written = (value) => (Array.isArray(value) ? value.join(", ") : String(value));

// What is typed for an attribute, as the kind of value that it had before.
function typed(text, before) {
  if (before === undefined || text === written(before)) return before ?? text;
  if (Array.isArray(before)) return text.split(",").map((one) => one.trim()).filter(Boolean);
  if (typeof before === "number" && Number.isFinite(Number(text))) return Number(text);
  if (typeof before === "boolean" && ["true", "false"].includes(text)) return text === "true";
  return text;
}

async function fetchPicture(image, i) {
  const response = await fetch(image.url);
  if (!response.ok) throw new Error(`picture ${i + 1}: ${response.status}`);
  return new File([await response.blob()], `picture-${i + 1}.jpg`, { type: "image/jpeg" });
}

const slug = (title) =>
  title.toLowerCase().normalize("NFKD").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) +
  "-" + Math.random().toString(36).slice(2, 6);
