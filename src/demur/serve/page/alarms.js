/* Whether the guarantee still holds here: the three alarms, and the pictures whose labels would tell. */

import { alarms, feedback, Refusal } from "./server.js";
import { thumb } from "./thumb.js";
import { by, count, make, minus, moment, plural, sign } from "./words.js";

const QUESTIONS = 6, LISTED = 6;
const KINDS = {
  harm: { title: "Harm", asks: "Are more of its answers wrong than was certified? Only labels can tell.", alarm: "Alarm: too many wrong",
    loud: "Harm alarm: more of its answers are wrong than was certified. Let people check them." },
  workload: { title: "Workload", asks: "Does a larger share go to a person than was calibrated? That costs time; it does no harm.", alarm: "Alarm: more work",
    loud: "Workload alarm: more goes to a person than at calibration. This says nothing of wrong answers." },
  martingale: { title: "Unlike calibration", asks: "Do the scores look like those of calibration? For information: not an alarm.", alarm: "Unlike calibration" },
};
/** Silence is no proof that all is well, so it has no sign of being right. */
const STATES = { quiet: ["quiet", "Quiet so far"], void: ["fail", "Cannot be relied on"], off: ["quiet", "Off"] };

function stateOf(kind, found) {
  if (found.state === "alarm") return [kind === "martingale" ? "open" : kind === "harm" ? "stop" : "fail", KINDS[kind].alarm];
  if (found.void) return STATES.void;
  return STATES[found.state] ?? ["open", String(found.state ?? "not known").replaceAll("_", " ")];
}

/** Evidence in digits that a person reads; beyond a million it does not matter how far. */
const amount = (value) => (value > 1e6 ? "over a million" : value >= 100 ? count(Math.round(value)) : minus(String(Number(value.toPrecision(3)))));

/** How far evidence has come, on a logarithmic scale: from 1, which says nothing, to the threshold. */
function meter({ evidence, threshold }) {
  if (!Number.isFinite(evidence) || !Number.isFinite(threshold) || threshold <= 1) return null;
  const fill = make("span", { class: "fill" });
  fill.style.width = `${100 * Math.min(Math.max(Math.log(Math.max(evidence, 1)) / Math.log(threshold), 0), 1)}%`;
  return make("div", { class: "meter" }, make("span", { class: "rail", "aria-hidden": "true" }, fill), make("span", {}, `evidence ${amount(evidence)} of the ${amount(threshold)} it takes`));
}

/** What the server counts, as a person would say it. */
const COUNTS = {
  images: "pictures", abstained: "went to a person", reference_images: "pictures of reference", questions: "labels asked for",
  labels: "labels that came", wrong: "of these, wrong answers", missing: "labels missing", waiting: "still waited for",
  others: "labels that do not count", units: "sequences",
};

function counts(found, group) {
  const counted = Object.entries(found.counts ?? {}).filter(([name, value]) => Number.isFinite(value) && (name !== "units" || group === "sequence"));
  const lines = counted.map(([name, value]) => [Object.hasOwn(COUNTS, name) ? COUNTS[name] : name.replaceAll("_", " "), count(value)]);
  if (Number.isFinite(found.highest)) lines.push(["highest evidence", amount(found.highest)]);
  if (found.since) lines.unshift(["since", moment(found.since)]);
  if (!lines.length) return null;
  return make("dl", { class: "counts" }, ...lines.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function card(kind, found, group) {
  const [tone, state] = stateOf(kind, found), { title, asks } = KINDS[kind];
  return make("li", { class: `tone-${tone}${found.state === "alarm" && kind !== "martingale" ? " alarm" : ""}` },
    make("h3", {}, title), make("p", { class: "state" }, sign(tone), make("b", {}, state)),
    make("p", { class: "aside" }, asks), found.sentence ? make("p", {}, found.sentence) : null,
    found.void ? make("p", { class: "void" }, `It cannot be relied on: ${found.void}`) : null, meter(found), counts(found, group));
}

function history(found) {
  if (!found.images) return "";
  return ` Since ${moment(found.begun)}: ${plural(found.images, "picture")}, of which ${count(found.abstained)} went to a person.`;
}

export class Alarms {
  /** `items()` gives the pictures that are still on this page; `classes()` what can be said of them. */
  constructor({ items, classes, guard, say }) {
    Object.assign(this, { items, classes, guard, say, off: false, said: "", pending: [], answered: new Set(), cards: new Map() });
  }

  /** Look again; what cannot be had is said, and the last known state stays, marked as such. */
  async refresh() {
    const name = this.guard();
    if (!name || document.hidden) return;
    let found;
    try {
      found = await alarms(name);
    } catch (error) {
      if (error instanceof Refusal && error.status === 404) found = { state: "off", reason: error.message };
      else if (error instanceof Refusal && error.status === 401) return;
      else return this.lost(error);
    }
    if (name === this.guard()) this.show(found);
  }

  lost(error) {
    if (!by("alarms").hidden) by("alarms-lede").textContent = `${error.message} What follows is the last that is known.`;
  }

  show(found) {
    const kinds = Object.keys(KINDS).filter((kind) => found[kind]);
    this.off = found.state === "off" || !kinds.length;
    by("alarms").hidden = false;
    by("alarms-lede").textContent = this.off
      ? `Alarms are off: nothing here watches whether the guarantee still holds.${found.reason ? ` The server says: ${found.reason}` : ""}`
      : `Pictures that change make a guarantee void, and no score shows it for certain. These alarms say what is known.${history(found)}`;
    by("watch").replaceChildren(...(this.off ? [] : kinds.map((kind) => card(kind, found[kind], found.group))));
    const notes = [found.reference, found.detectable, ...(found.resets ?? []).map((each) => `Reset: ${Object.values(each).join(", ")}.`)].filter(Boolean);
    by("alarms-notes").textContent = this.off ? "" : notes.join(" ");
    this.pending = (found.pending ?? []).map((each) => (typeof each === "string" ? each : each.id));
    const on = ["harm", "workload"].filter((kind) => found[kind]?.state === "alarm");
    if (on.join() !== this.said) this.say(on.map((kind) => ({ text: KINDS[kind].loud, tone: kind === "harm" ? "stop" : "fail", more: "#alarms" })));
    this.said = on.join();
    this.ask();
  }

  /** The pictures on this page that the server wants a label of, a few at a time. */
  ask() {
    const wanted = this.items().filter((item) => item.decision?.feedback?.wanted && !this.answered.has(item.decision.id));
    const some = wanted.slice(0, QUESTIONS), here = new Set(wanted.map((item) => item.decision.id));
    const elsewhere = this.pending.filter((id) => !here.has(id) && !this.answered.has(id));
    const cards = some.map((item) => this.cards.get(item.decision.id) ?? this.question(item)), list = by("questions");
    if (cards.length !== list.children.length || cards.some((each, place) => each !== list.children[place])) list.replaceChildren(...cards);
    by("labels-title").textContent = some.length ? "Please label these" : "Waiting for labels";
    by("labels-why").hidden = by("questions").hidden = !some.length;
    by("labels").hidden = !some.length && !elsewhere.length;
    const more = wanted.length > some.length ? `${count(wanted.length - some.length)} more on this page after these. ` : "";
    const ids = elsewhere.slice(0, LISTED).join(", ") + (elsewhere.length > LISTED ? " …" : "");
    by("elsewhere").hidden = !more && !elsewhere.length;
    by("elsewhere").textContent = `${more}${elsewhere.length ? `The labels of ${plural(elsewhere.length, "picture")} that ${elsewhere.length === 1 ? "is" : "are"} not on this page are waited for${some.length ? " too" : ""}; whoever has the pictures answers by POST feedback: ${ids}` : ""}`;
  }

  question(item) {
    const { id } = item.decision, canvas = make("canvas", { width: 160, height: 160, role: "img", "aria-label": `The picture ${item.name}` });
    const choice = make("select", { id: `label-${id}`, required: true }, make("option", { value: "" }, "Choose …"), ...this.classes().map((name, place) => make("option", { value: String(place) }, name)), make("option", { value: "none" }, "none of these"));
    const send = make("button", { type: "submit" }, "Send"), answer = make("p", { class: "answer", role: "status" });
    const form = make("form", { class: "question" }, canvas, make("div", {}, make("label", { for: `label-${id}` }, "What does it show?"), make("p", { class: "pair" }, choice, " ", send), make("p", { class: "id" }, item.name), answer));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!choice.value) return;
      send.disabled = true;
      const said = choice.value === "none" ? { correct: false } : { label: this.classes()[Number(choice.value)] };
      answer.textContent = await this.send(id, said);
      send.disabled = !answer.textContent.startsWith("Not ");
    });
    const made = make("li", {}, form);
    this.cards.set(id, made);
    thumb(item.file, canvas);
    return made;
  }

  /** Send one label; the next question takes the place of one that was answered. */
  async send(id, said) {
    let found;
    try {
      found = await feedback({ id, guard: this.guard(), ...said });
    } catch (error) {
      if (!(error instanceof Refusal && [404, 409].includes(error.status))) return `Not sent: ${error.message}`;
      setTimeout(() => this.done(id), 4000);
      return `Not counted: ${error.message}`;
    }
    setTimeout(() => this.done(id), found.sentence ? 2500 : 900);
    return `Thank you. ${found.sentence ?? ""}`.trim();
  }

  done(id) {
    const card = this.cards.get(id), focused = card?.contains(document.activeElement) ?? false;
    this.answered.add(id);
    this.cards.delete(id);
    this.ask();
    if (focused) (by("questions").querySelector("select") ?? by("alarms-title")).focus();
    this.refresh();
  }
}
