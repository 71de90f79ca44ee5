/* How pictures come in: chosen, dropped (folders too), pasted. */

import { by } from "./words.js";

const MOST = 20000;

/** The files under an entry of a drop; hidden ones are left out. */
async function under(entry, path, found) {
  if (found.length >= MOST || entry.name.startsWith(".")) return;
  if (entry.isFile) {
    const file = await new Promise((go) => entry.file(go, () => go(null)));
    if (file) found.push({ file, name: path + file.name });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((go) => reader.readEntries(go, () => go([])));
    if (!some.length) return;
    for (const each of some) await under(each, `${path}${entry.name}/`, found);
  }
}

async function dropped(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.());
  if (!entries.length || entries.some((entry) => !entry)) return plain(transfer.files);
  const found = [];
  for (const entry of entries) await under(entry, "", found);
  return found;
}

const plain = (files) => [...files].map((file) => ({ file, name: file.webkitRelativePath || file.name || "pasted picture" }));
const brings = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

/** Call `given` with [{file, name}] whenever pictures come in; while `closed()` is true, nothing is taken. */
export function onFiles(given, closed) {
  const over = by("over"), input = by("files");
  input.addEventListener("change", () => {
    const chosen = plain(input.files);
    input.value = ""; // so that the same picture can be chosen again
    if (chosen.length) given(chosen);
  });
  let depth = 0;
  const shut = () => { depth = 0; over.hidden = true; };
  document.addEventListener("dragenter", (event) => { if (brings(event) && !closed()) { depth += 1; over.hidden = false; } });
  document.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) shut(); });
  document.addEventListener("dragover", (event) => { if (brings(event)) event.preventDefault(); });
  document.addEventListener("drop", async (event) => {
    if (!brings(event)) return;
    event.preventDefault(); // also where nothing is taken: a browser would leave the page and show the picture
    shut();
    if (closed()) return;
    const found = await dropped(event.dataTransfer);
    if (found.length) given(found);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length || closed()) return;
    event.preventDefault();
    given(plain(files));
  });
}
