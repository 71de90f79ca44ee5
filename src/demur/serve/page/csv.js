/* The table as a file: text that a spreadsheet would run as a formula is made text by an apostrophe. */

const RUNS = /^[\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/;

/** One cell. Numbers are written as they are; only text can be a formula. */
export function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const safe = RUNS.test(value) ? `'${value}` : value;
  return /[",\r\n;']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The decisions about items, a line each, with what they were decided by. */
export function table(items) {
  const signals = [...new Set(items.flatMap((item) => Object.keys(item.decision?.scores ?? {})))];
  const head = ["name", "id", "accepted", "answer", "model_says", "confidence", "reason", "detail", "near", ...signals.flatMap((name) => [`score ${name}`, `threshold ${name}`]), "guard", "guard_sha256", "request"];
  const lines = items.map((item) => {
    const found = item.decision;
    const decided = found ? [found.id, found.accepted, found.accepted ? found.label : null, found.predicted, found.confidence, found.reason, found.detail, found.near] : [null, null, null, null, null, "no_decision", item.error ?? "still waiting", null];
    return [item.name, ...decided, ...signals.flatMap((name) => [found?.scores?.[name], found?.thresholds?.[name]]), item.guard?.name, item.guard?.sha256, item.request];
  });
  return `${[head, ...lines].map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
}

/** Give a text to the browser as a file. */
export function download(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
