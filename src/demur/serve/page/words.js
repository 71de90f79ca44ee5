/* Elements made of text alone, numbers as the report writes them, and reason codes in words. */

const SVG = "http://www.w3.org/2000/svg";

function furnished(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An element with attributes; whatever is text stays text. */
export const make = (tag, attributes = {}, ...children) => furnished(document.createElement(tag), attributes, children);
export const draw = (tag, attributes = {}, ...children) => furnished(document.createElementNS(SVG, tag), attributes, children);
export const by = (id) => document.getElementById(id);

const SIGNS = {
  good: [["circle", { cx: 16, cy: 16, r: 15 }], ["path", { d: "M9 16.5l5 5 9.5-11" }]],
  stop: [["circle", { cx: 16, cy: 16, r: 15 }], ["path", { d: "M10.5 10.5l11 11m0-11l-11 11" }]],
  fail: [["path", { class: "body", d: "M16 2.5L31 29H1z" }], ["path", { d: "M16 12v8m0 4v.5" }]],
  quiet: [["circle", { cx: 16, cy: 16, r: 15 }], ["path", { d: "M10 16h12" }]],
  open: [["circle", { cx: 16, cy: 16, r: 15 }], ["path", { d: "M11.5 12.5c0-6 9-5.500 9-.5 0 3.500-4.500 3.500-4.500 7.500m0 4v.5" }]],
};

/** The sign of a tone, as in the report. */
export const sign = (tone) =>
  draw("svg", { class: "icon", viewBox: "0 0 32 32", "aria-hidden": "true", focusable: "false" }, ...SIGNS[tone].map(([tag, given]) => draw(tag, given)));

const POWERS = { "-": "⁻", "−": "⁻", ...Object.fromEntries([..."⁰¹²³⁴⁵⁶⁷⁸⁹"].map((sign, digit) => [digit, sign])) };
export const minus = (text) => text.replace("-", "−");

/** A score or threshold: four digits, three where it is tiny; a dash where there is none. */
export function figure(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "—";
  if (value !== 0 && Math.abs(value) < 1e-4) return minus(value.toExponential(1)).replace(/e[+]?(.+)$/, (_, power) => `·10${[...power].map((each) => POWERS[each] ?? each).join("")}`);
  return minus(String(Number(value.toPrecision(4))));
}

/** A share as a percentage that never says 0 or 100 of what is neither. */
export function percent(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "—";
  if (value > 0 && value < 0.001) return "< 0.1 %";
  if (value < 1 && value > 0.999) return "> 99.9 %";
  return `${(100 * value).toFixed(1)} %`;
}

export const count = (value) => Number(value).toLocaleString("en");

/** A moment as the reader's clock has it. */
export function moment(text) {
  const found = new Date(text);
  return Number.isNaN(found.getTime()) ? text : found.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

export const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/** Bytes in the unit that a person would choose. */
export function size(bytes) {
  const mib = bytes / 1048576;
  return mib >= 1 ? `${Number(mib.toPrecision(3))} MiB` : `${Math.max(1, Math.round(bytes / 1024))} KiB`;
}

const REASONS = {
  low_confidence: "the model is not confident enough",
  high_entropy: "its probabilities are spread over too many classes",
  low_margin: "two classes are too close to call",
  low_max_logit: "no class is claimed strongly enough",
  suspected_attack: "the picture may have been manipulated",
  suspected_shift: "it looks unlike the pictures the guard was certified on",
  suspected_unknown: "it looks like none of the classes the model knows",
  unknown_site: "no threshold was certified for where it comes from",
  unreadable: "the picture cannot be read",
  undefined_answer: "the model's answer is not a finite number",
  undefined_score: "its uncertainty cannot be computed",
  expired_certificate: "the last day of the certificate is over",
};

/** Why an answer is withheld, in words; a code that is not in the list is said as it is. */
export function reasonWords(code) {
  if (!code) return "";
  if (Object.hasOwn(REASONS, code)) return REASONS[code];
  const high = /^high_(.+)$/.exec(code);
  return high ? `its uncertainty (${high[1].replaceAll("_", " ")}) is too high` : code.replaceAll("_", " ");
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** The verdict of an item: tone, state, title, why. */
export function verdictWords(item) {
  if (item.state === "failed") return { tone: "stop", state: "No decision", title: "No decision", why: item.error };
  const found = item.decision;
  if (found.accepted) return { tone: "good", state: "The guard answers", title: `Answers: ${found.label}`, why: "" };
  const more = found.detail ? `: ${found.detail}` : "";
  return {
    tone: "fail", state: "The guard abstains", title: "Goes to a person",
    why: `${capital(reasonWords(found.reason) || "the answer is withheld")}${more}.`,
  };
}
