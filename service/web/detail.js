// One product in full.

import { deleteItem, similarItems } from "./api.js";
import { productLink } from "./cards.js";
import { $, closable, element, marked, picture, price, shut, stock, toast } from "./dom.js";
import { openOver } from "./steps.js";

const SIMILAR = 6;

// `variantsField` gives the field that the variants of one thing share, if the catalogue has one, and `addressOf` an item's
// address.
export function setUpDetail({ onEdit, onDeleted, variantsField, addressOf }) {
  const dialog = $("#detail");
  const remove = $("[data-delete]", dialog);
  let item;
  let title; // of the page beneath
  dialog.addEventListener("close", () => (document.title = title));
  closable(dialog);

  $("[data-edit]", dialog).addEventListener("click", () => {
    dialog.close();
    onEdit(item);
  });

  // Nobody has read "Really delete?" yet who clicks twice, or holds a key down.
  remove.addEventListener("keydown", (event) => event.repeat && event.preventDefault());
  remove.addEventListener("click", async (event) => {
    if (event.detail > 1 || remove.ariaDisabled) return;
    if (remove.dataset.sure !== "yes") {
      remove.dataset.sure = "yes";
      remove.textContent = "Really delete?";
      return;
    }
    const of = item;
    const isShown = () => dialog.open && item.id === of.id; // and not another one by now
    remove.ariaDisabled = "true"; // `disabled` would take the focus from it
    try {
      await deleteItem(of);
      if (isShown()) shut(dialog);
      toast(`${of.title || of.id} is deleted.`);
      onDeleted(of);
    } catch (error) {
      if (isShown()) {
        $(".problem", dialog).textContent = error.message;
        disarm();
      } else toast(`${of.title || of.id} is not deleted: ${error.message}`, { trouble: true });
    } finally {
      if (isShown()) remove.ariaDisabled = null;
    }
  });

  function disarm() {
    remove.dataset.sure = "no";
    remove.textContent = "Delete";
  }

  function show(number) {
    $(".stage", dialog).replaceChildren(picture(item, number, true));
    $(".thumbs", dialog)
      .querySelectorAll("button")
      .forEach((button, i) => button.setAttribute("aria-pressed", String(i === number)));
  }

  async function showSimilar() {
    const section = $(".similar", dialog);
    const of = item;
    section.hidden = true;
    const found = await similarItems(of.id, SIMILAR, variantsField()).catch(() => ({ hits: [] })); // a nicety: its failure is no news
    if (item !== of || !dialog.open || !found.hits.length) return;
    $("ul", section).replaceChildren(
      ...found.hits.map((hit) =>
        element(
          "li",
          {},
          productLink(
            hit.item,
            { href: addressOf(hit.item), onOpen: () => open(hit.item, hit) },
            element("div", { className: "picture" }, picture(hit.item)),
            element("p", { className: "title", dir: "auto", textContent: hit.item.title || hit.id }),
            element("p", { className: "price", textContent: price(hit.item.price) }),
          ),
        ),
      ),
    );
    section.hidden = false;
  }

  // `hit` is what a search said about the item, if it comes from one.
  async function open(opened, hit = {}) {
    item = opened;
    remove.ariaDisabled = null;
    disarm();
    $(".about", dialog).open = false;
    $(".problem", dialog).textContent = "";
    $(".path", dialog).textContent = item.category.join(" › ");
    const found = hit.highlights ?? {};
    $("h2", dialog).textContent = item.title || item.id;
    $(".price", dialog).textContent = price(item.price);
    $(".stock", dialog).textContent = stock(item);
    $(".stock", dialog).classList.toggle("out", item.stock === 0);
    $(".description", dialog).replaceChildren(...(found.description ? marked(found.description) : [item.description]));
    $(".why", dialog).textContent = why(item, hit);
    $(".id", dialog).textContent = `id ${item.id} · changed ${new Date(item.updated_at).toLocaleString()}`;
    $(".attributes", dialog).replaceChildren(
      ...Object.entries(item.attributes).flatMap(([name, value]) => [
        element("dt", { dir: "auto", textContent: name }),
        element("dd", { dir: "auto", textContent: Array.isArray(value) ? value.join(", ") : String(value) }),
      ]),
    );
    $(".thumbs", dialog).replaceChildren(
      ...(item.images.length < 2 ? [] : item.images).map((_, number) =>
        element(
          "button",
          { type: "button", ariaLabel: `Picture ${number + 1}`, onclick: () => show(number) },
          picture(item, number),
        ),
      ),
    );
    show(hit.explanation?.picture ?? 0);
    if (dialog.open) $("h2", dialog).focus(); // what was clicked goes
    if (!dialog.open) title = document.title;
    document.title = `${item.title || item.id} – Product search`;
    await openOver(dialog, addressOf(item));
    dialog.scrollTop = 0;
    showSimilar();
  }

  return open;
}

// How its score came about, in a line.
function why(item, { score, explanation }) {
  if (!explanation) return "";
  const { semantic, lexical, lexical_weight: weight, words, boost, picture: best } = explanation;
  const parts = [`meaning ${semantic.toFixed(2)}`];
  if (words.length) parts.push(`words ${(weight * lexical).toFixed(2)} (${words.join(", ")})`);
  if (boost) parts.push(`boost ${boost.toFixed(2)}`);
  if (item.images.length > 1 && best !== null) parts.push(`picture ${best + 1} of ${item.images.length} fits best`);
  return `Found with a score of ${score.toFixed(2)}: ${parts.join(" + ").replace(" + picture", "; picture")}.`;
}
