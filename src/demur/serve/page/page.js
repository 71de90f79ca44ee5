/* The page: what is chosen, what was decided, and who hears of it. */

import { Alarms } from "./alarms.js";
import { download, table as asCsv } from "./csv.js";
import { onFiles } from "./files.js";
import { Queue } from "./queue.js";
import { guard as guardFacts, guards, onToken, Refusal } from "./server.js";
import { Table } from "./table.js";
import { showVerdict } from "./verdict.js";
import { by, count, make, plural, verdictWords } from "./words.js";

const WATCH = 15000, MOST = 20000;
const page = { facts: null, items: [], shown: null, wait: null, alarmBanners: [], connection: null, banners: "[]", turn: 0, renewed: null };
const live = (text) => { by("live").textContent = text; };

/* Banners: what must not be missed, loudest first. */
function banners() {
  const facts = page.facts, terms = facts?.guarantee, all = [...page.alarmBanners];
  if (terms?.expired) all.unshift({ tone: "stop", text: `This guard has expired${terms.expires ? ` (its last day was ${terms.expires})` : ""}: it abstains on every picture. Load one with a new certificate.` });
  if (page.connection) all.unshift(page.connection);
  const key = JSON.stringify(all.map(({ tone, text }) => [tone, text]));
  if (key === page.banners) return; // said once, not at every change
  page.banners = key;
  by("banners").replaceChildren(...all.map(({ tone, text, action, press, more }) => {
    const button = action ? make("button", { type: "button" }, action) : null;
    button?.addEventListener("click", press);
    return make("p", { class: `banner ${tone}` }, make("span", {}, text), button, more ? make("a", { href: more }, "What is known") : null);
  }));
}

/* Theme: the reader's system decides until the button is pressed. */
function theme() {
  const root = document.documentElement, dark = window.matchMedia("(prefers-color-scheme: dark)"), button = by("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
  };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); });
  dark.addEventListener("change", label);
  label();
}

/* Token: asked for once, kept in memory. */
function tokenQuestion(again) {
  const dialog = by("token-dialog"), input = by("token");
  by("token-why").textContent = again ? "That one was not accepted. Whoever runs the server has one for you." : "Whoever runs it has one for you. It is kept until you leave this page.";
  input.value = "";
  dialog.showModal();
  input.focus();
  return new Promise((go) => {
    const end = (given) => { input.value = ""; dialog.onclose = null; dialog.close(); go(given); };
    by("token-form").onsubmit = (event) => { event.preventDefault(); end(input.value.trim() || null); };
    by("token-cancel").onclick = () => end(null);
    dialog.onclose = () => end(null); // Escape
  });
}

/* The guard: its name, its terms. */
const lines = (place, texts, none) => by(place).replaceChildren(...(texts?.length ? texts : [none]).map((text) => make("li", {}, text)));

function terms(facts) {
  const found = facts.guarantee ?? {};
  by("terms").hidden = false;
  by("sentence").textContent = found.sentence ?? "";
  lines("covers", found.covers, "pictures like those it was certified on");
  lines("void-when", found.void_when, "not stated");
  const limits = facts.limits ?? {};
  const rows = [["Confirmation", found.confirmation], ["Last day", found.expires], ["Classes", facts.classes?.join(", ")],
    ["Model, SHA-256", facts.model_sha256], ["Guard, SHA-256", facts.sha256], ["At once", limits.images ? `${plural(limits.images, "picture")} in a request; the page sends as many requests as it takes` : null]];
  by("facts").replaceChildren(...rows.filter(([, text]) => text).map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(text)))));
  by("site-choice").hidden = !facts.sites?.length;
  by("site").replaceChildren(make("option", { value: "" }, "not stated"), ...(facts.sites ?? []).map((name) => make("option", { value: name }, name)));
  by("subject").replaceChildren("Guard ", make("b", {}, facts.name), ` ${String(facts.sha256 ?? "").slice(0, 12)}`);
}

async function choose(name) {
  const turn = page.turn += 1;
  queue.cancel();
  page.facts = null; // until the new one is known, nobody is asked: not the old one under the new name
  by("files").disabled = true;
  clear();
  const facts = await guardFacts(name);
  if (turn !== page.turn) return; // another was chosen meanwhile
  page.facts = facts;
  terms(facts);
  page.alarmBanners = [];
  banners();
  watching.said = "";
  by("files").disabled = false;
  document.documentElement.dataset.ready = "true";
  await watching.refresh();
}

/** The server decided by other files than this page knows of: look what it has now, once for each. */
async function renew(sha256) {
  page.renewed = sha256;
  const name = page.facts.name, turn = page.turn;
  try {
    const facts = await guardFacts(name);
    if (turn !== page.turn) return;
    page.facts = facts;
  } catch { return; } // it is asked again with the next picture
  terms(page.facts);
  banners();
  update();
  live(`The server has another version of the guard ${name}: its guarantee and thresholds are shown anew.`);
}

/* From pictures to decisions. */
const options = () => ({ guard: page.facts.name, site: by("site").value, limits: page.facts.limits ?? {} });

function take(files) {
  if (!page.facts) return;
  const room = MOST - page.items.length, made = files.slice(0, Math.max(room, 0)).map(({ file, name }) => ({ file, name, state: "waiting", decision: null, error: null }));
  if (made.length < files.length) live(`${count(files.length - made.length)} pictures were left out: this page holds ${count(MOST)}. Clear it for more.`);
  page.items.push(...made);
  document.documentElement.dataset.used = "true";
  page.shown = made.length === 1 ? made[0] : null;
  queue.add(made, options());
  update();
}

function again() {
  const failed = page.items.filter((item) => item.state === "failed");
  for (const item of failed) Object.assign(item, { state: "waiting", error: null });
  queue.add(failed, options());
  update();
}

function clear() {
  for (const item of page.items) item.row = null;
  Object.assign(page, { items: [], shown: null, wait: null });
  table.clear();
  watching.cards.clear();
  delete document.documentElement.dataset.used;
  update();
}

function progress() {
  const left = page.items.filter((item) => item.state === "waiting").length, all = page.items.length;
  by("progress").hidden = !left;
  by("progress-bar").max = all || 1;
  by("progress-bar").value = all - left;
  const wait = page.wait ? ` ${page.wait.why}: asking again in ${plural(Math.ceil(page.wait.wait), "second")}.` : "";
  const words = all === 1 ? "Asking the guard …" : `${count(all - left)} of ${count(all)} decided.`;
  by("progress-words").textContent = words + wait;
}

function update() {
  progress();
  showVerdict(page.shown, page.facts ?? {});
  by("many").hidden = page.items.length < 2;
  table.items = page.items;
  if (page.items.length > 1) table.later();
}

function heard(changed, wait) {
  page.wait = wait;
  update();
  if (wait) live(`${wait.why}. Asking again.`);
  if (changed.includes(page.shown)) announce(page.shown);
  if (changed.length && !page.items.some((item) => item.state === "waiting")) {
    if (!page.shown && page.items.length > 1) {
      const given = page.items.filter((item) => item.decision?.accepted).length;
      live(`All ${count(page.items.length)} pictures are done: ${count(given)} answered, ${count(page.items.length - given)} not.`);
    }
    watching.refresh();
  }
  const other = changed.find((item) => item.guard?.sha256 && page.facts && item.guard.sha256 !== page.facts.sha256)?.guard.sha256;
  if (other && other !== page.renewed) renew(other);
  if (changed.some((item) => item.decision?.feedback?.wanted)) watching.ask();
}

function announce(item) {
  const { title, why } = verdictWords(item);
  live(`${item.name}. ${title}. ${why}`);
}

function open(item) {
  page.shown = item;
  update();
  announce(item);
  by("verdict").scrollIntoView({ behavior: window.matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "start" });
}

/* Begin: which guards there are; a server that is not there is asked again. */
async function begin(wait = 2) {
  try {
    const found = await guards();
    page.connection = null;
    if (!found.length) throw new Refusal(404, "This server has no guard loaded.");
    by("guard-choice").hidden = found.length < 2;
    by("guard").replaceChildren(...found.map(({ name }) => make("option", { value: name }, name)));
    const first = found.find((each) => each.default) ?? found[0];
    by("guard").value = first.name;
    await choose(first.name);
  } catch (error) {
    const asked = error instanceof Refusal && error.status < 500;
    const timer = asked ? null : setTimeout(() => begin(Math.min(2 * wait, 30)), 1000 * wait);
    const press = () => { clearTimeout(timer); begin(); };
    page.connection = { tone: "stop", text: asked ? error.message : `${error.message} The page asks again by itself.`, action: "Ask now", press };
    banners();
  }
}

async function change() {
  try {
    await choose(by("guard").value);
    live(`Guard ${page.facts?.name ?? ""}. Earlier decisions were another guard's and are gone.`);
    page.connection = null;
  } catch (error) {
    page.connection = { tone: "stop", text: error.message, action: "Ask now", press: change };
  }
  banners();
}

const queue = new Queue(heard);
const table = new Table(open);
const watching = new Alarms({
  items: () => page.items, classes: () => page.facts?.classes ?? [], guard: () => page.facts?.name,
  say: (words) => { page.alarmBanners = words; banners(); },
});

/* Nothing is folded in print. */
let folded = false;
window.addEventListener("beforeprint", () => { folded = !by("fine-print").open; by("fine-print").open = true; });
window.addEventListener("afterprint", () => { by("fine-print").open = !folded; });

theme();
onToken(tokenQuestion);
onFiles(take, () => !page.facts || by("token-dialog").open);
by("cancel").addEventListener("click", () => { queue.cancel(); live("Stopped."); });
by("again").addEventListener("click", again);
by("clear").addEventListener("click", () => { queue.cancel(); clear(); live("Cleared."); by("files").focus(); });
by("csv").addEventListener("click", () => download(asCsv(table.visible), `demur-${page.facts.name.replace(/[^\w.-]+/g, "_")}.csv`));
by("guard").addEventListener("change", change);
setInterval(() => watching.refresh(), WATCH);
document.addEventListener("visibilitychange", () => watching.refresh());
begin();
