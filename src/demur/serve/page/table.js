/* Many pictures: a table to sort and filter, a hundred rows at a time. */

import { thumb } from "./thumb.js";
import { by, count, figure, make, percent, plural, reasonWords, verdictWords } from "./words.js";

const STEP = 100, THUMB = 40;

const abstained = (item) => item.state === "decided" && !item.decision.accepted;
const score = (item) => Object.values(item.decision?.scores ?? {})[0] ?? null;

/** What a column sorts by; null goes last, whichever way. */
const COLUMNS = [
  { name: "Name", key: (item) => item.name },
  { name: "Verdict", key: (item) => ({ waiting: null, decided: item.decision?.accepted ? "1" : "2", failed: "3" })[item.state] },
  { name: "Answer", key: (item) => (item.decision?.accepted ? item.decision.label : null) },
  { name: "Confidence", key: (item) => item.decision?.confidence ?? null },
  { name: "Uncertainty", key: score },
  { name: "Reason", key: (item) => (item.state === "failed" ? item.error : reasonWords(item.decision?.reason) || null) },
];

function compared(column, up) {
  const key = COLUMNS[column].key, turn = up ? 1 : -1;
  return (one, other) => {
    const [a, b] = [key(one), key(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return turn * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  };
}

export class Table {
  /** `open(item)` is called where one is chosen. */
  constructor(open) {
    this.open = open;
    this.items = [];
    this.sorted = null;
    this.most = STEP;
    this.due = false;
    this.thumbs = Promise.resolve();
    by("heads").append(make("th", { scope: "col", class: "pic" }, make("span", { class: "unseen" }, "Picture")), ...COLUMNS.map((column, place) => this.head(column.name, place)));
    by("abstained").addEventListener("change", () => { this.most = STEP; this.render(); });
    by("more").addEventListener("click", () => { this.most += STEP; this.render(); });
    ["table", "rowgroup", "rowgroup"].forEach((role, place) => [by("table"), by("table").tHead, by("table").tBodies[0]][place].setAttribute("role", role));
    by("heads").setAttribute("role", "row");
  }

  head(name, place) {
    const press = make("button", { type: "button" }, name), made = make("th", { scope: "col", role: "columnheader" }, press);
    press.addEventListener("click", () => {
      this.sorted = { column: place, up: !(this.sorted?.column === place && this.sorted.up) };
      [...by("heads").cells].forEach((each) => each.removeAttribute("aria-sort"));
      made.setAttribute("aria-sort", this.sorted.up ? "ascending" : "descending");
      this.render();
    });
    return made;
  }

  /** The items as they are shown: filtered, in order. */
  get visible() {
    const kept = by("abstained").checked ? this.items.filter(abstained) : [...this.items];
    return this.sorted ? kept.sort(compared(this.sorted.column, this.sorted.up)) : kept;
  }

  /** Draw again, once for however many changes come before the next frame. */
  later() {
    if (this.due) return;
    this.due = true;
    by("table").setAttribute("aria-busy", "true");
    setTimeout(() => { this.due = false; this.render(); }, 60);
  }

  render() {
    const visible = this.visible, some = visible.slice(0, this.most);
    const rows = some.map((item) => this.row(item)), body = by("rows"), focused = body.contains(document.activeElement) ? document.activeElement : null;
    if (rows.length !== body.rows.length || rows.some((row, place) => row !== body.rows[place])) {
      body.replaceChildren(...rows);
      if (focused?.isConnected) focused.focus({ preventScroll: true });
    }
    by("table").removeAttribute("aria-busy");
    by("more").hidden = visible.length <= this.most;
    by("more").textContent = `Show ${count(Math.min(STEP, visible.length - this.most))} more of ${count(visible.length)}`;
    by("csv").textContent = `Download CSV (${plural(visible.length, "row")})`;
    by("csv").disabled = !visible.length;
    by("none").hidden = visible.length > 0;
    by("none").textContent = this.items.some((item) => item.state === "waiting") ? "None so far." : "The guard answered all of them.";
    this.tally();
  }

  tally() {
    const of = (kind) => this.items.filter(kind).length;
    const given = of((item) => item.decision?.accepted), withheld = of(abstained), failed = of((item) => item.state === "failed");
    const part = (kind, number, words) => make("span", { class: kind }, make("b", {}, count(number)), ` ${words}`);
    by("tally").replaceChildren(part("right", given, "answered"), " ", part("person", withheld, withheld === 1 ? "goes to a person" : "go to a person"), ...(failed ? [" ", part("wrong", failed, "without a decision")] : []));
    by("again").hidden = !failed;
    by("again").textContent = `Ask again (${count(failed)})`;
  }

  /** The row of an item, made once and filled anew where the item changed. */
  row(item) {
    if (!item.row) {
      const canvas = make("canvas", { width: 2 * THUMB, height: 2 * THUMB, "aria-hidden": "true" }), press = make("button", { type: "button", class: "see" }, item.name);
      press.addEventListener("click", () => this.open(item));
      item.row = make("tr", { role: "row" }, make("td", { class: "pic", role: "cell" }, canvas), make("th", { scope: "row", role: "rowheader" }, press));
      item.filled = null;
      this.thumbs = this.thumbs.then(() => thumb(item.file, canvas));
    }
    const state = item.decision ?? item.error ?? item.state;
    if (item.filled !== state) {
      item.filled = state;
      while (item.row.cells.length > 2) item.row.lastChild.remove();
      item.row.append(...this.cells(item));
    }
    return item.row;
  }

  cells(item) {
    const cell = (kind, head, ...content) => make("td", { class: kind, role: "cell", "data-head": head }, ...content);
    if (item.state === "waiting") return [cell("verdict-cell waiting", "", "waiting …"), ...["Answer", "Confidence", "Uncertainty", "Reason"].map((head) => cell("empty", head, ""))];
    const { tone, title } = verdictWords(item), found = item.decision;
    const why = item.state === "failed" ? item.error : `${reasonWords(found.reason)}${found.detail ? `: ${found.detail}` : ""}${found.near ? `${found.reason ? "; " : ""}near the threshold` : ""}`;
    return [
      cell(`verdict-cell tone-${tone}`, "", found?.accepted ? "Answers" : title),
      cell("answer-cell", "Answer", found?.accepted ? found.label : "—"),
      cell("num", "Confidence", percent(found?.confidence)), cell("num", "Uncertainty", figure(score(item))), cell("why-cell", "Reason", why),
    ];
  }

  clear() {
    Object.assign(this, { items: [], sorted: null, most: STEP });
    [...by("heads").cells].forEach((each) => each.removeAttribute("aria-sort"));
    by("abstained").checked = false;
    by("rows").replaceChildren();
  }
}
