// What stands in place of the results: why there are none, and the ways out of it.

import { $, element } from "./dom.js";

const message = $("#message");

// `ways` out of it: what a button says → what it does.
export function explain(title, text, ways) {
  $("h2", message).textContent = title;
  $("p", message).textContent = text;
  $(".ways", message).replaceChildren(
    ...Object.entries(ways).map(([textContent, onclick]) =>
      element("button", { type: "button", className: "button", textContent, onclick }),
    ),
  );
  message.hidden = false;
}

// Takes the message away; whoever was at one of its buttons is at the results then.
export function explainNothing() {
  if (message.contains(document.activeElement)) $("#results").focus({ preventScroll: true });
  message.hidden = true;
}

// What an address asks for that can no longer be had, or never could, in a shopper's words: a title, a text, and the
// `path` within the filter where it is that; null for all else.
export function outdated({ status, fields = [] }, query) {
  const refused = (part) => fields.map(({ field }) => field).find((field) => status === 422 && field.split(".")[0] === part);
  if (refused("filter")) {
    const path = refused("filter").slice("filter.".length);
    return { title: "This filter is no longer known", text: `“${path}” can no longer be filtered by in this way.`, path };
  }
  if (refused("group_by")) return { title: "These variants are no longer known", text: "All of them together can be seen." };
  const { maxLength } = $("#query");
  if (refused("query") && query.length > maxLength)
    return { title: "This search is too long", text: `Up to ${maxLength.toLocaleString()} letters can be searched for.` };
  return null;
}

// A query's words as the service reads it (service/query.py), without its phrases and the words after a minus.
export const withoutDemands = (query) =>
  typedPlainly(query)
    .replace(/(^|\s)(?:-"[^"]+"|-\p{L}[\p{L}\p{M}\p{N}_-]*|"([^"]+)")/gu, (_, before, phrase = "") => before + phrase)
    .trim()
    .replace(/\s+/g, " ");

export const demands = (query) => withoutDemands(query) !== typedPlainly(query).replace(/\s+/g, " ");

const typedPlainly = (query) => query.replace(/[“”„‟«»＂]/g, '"').replaceAll("－", "-");
