// Names of fields.

const FOLDED = { ß: "ss", ς: "σ", µ: "μ", '"': "'" }; // beyond letter case

// The form in which names are the same field, as the service lists them: its `field_name`.
export const fieldName = (name) =>
  name
    .trim()
    .replace(/\s+/g, " ")
    .toLowerCase()
    .replace(/[ßςµ"]/g, (one) => FOLDED[one]);
