// The service's HTTP API. Every call resolves to JSON or throws an ApiError that says what to tell the user.

export class ApiError extends Error {
  constructor(detail, fields = []) {
    super(detail);
    this.fields = fields; // [{field, message}], where single fields were refused
  }
}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The service does not answer. Is it running?");
  }
  if (response.ok) return response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => ({}));
  const fields = (problem.errors ?? []).map(({ field, message }) => ({ field: field.replace(/^body\./, ""), message }));
  throw new ApiError(problem.detail ?? `The service answered ${response.status}.`, fields);
}

export const listItems = (limit, cursor, signal) =>
  call(`/items?limit=${limit}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`, { signal });

export const search = (query, limit, offset, signal) =>
  call("/search", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ query, limit, offset }),
    signal,
  });

export const saveItem = (form) => call("/items", { method: "POST", body: form });

export const deleteItem = (id) => call(`/items/${encodeURIComponent(id)}`, { method: "DELETE" });
