/* One picture: what it is, the verdict in words, the model's five best guesses, its uncertainty. */

import { even, histogram, scoreWords } from "./histogram.js";
import { by, make, percent, sign, verdictWords } from "./words.js";

const PREVIEW = 64 * 1048576;
let shown = null;

function showPicture(item) {
  const picture = by("picture"), missing = by("no-picture");
  const failed = () => { picture.hidden = true; missing.hidden = false; };
  picture.hidden = false;
  missing.hidden = true;
  picture.alt = `The picture ${item.name}`;
  by("picture-name").textContent = item.name;
  if (item.file.size > PREVIEW) return failed();
  const address = URL.createObjectURL(item.file);
  picture.onload = () => {
    URL.revokeObjectURL(address); // what is drawn stays; the address need not
    picture.classList.toggle("tiny", picture.naturalWidth < 96);
    by("picture-name").textContent = `${item.name} · ${picture.naturalWidth} × ${picture.naturalHeight}`;
  };
  picture.onerror = () => { URL.revokeObjectURL(address); failed(); };
  picture.src = address;
}

function guess({ class: name, probability }, answer) {
  const bar = make("span", { class: "fill" });
  bar.style.width = `${100 * Math.min(Math.max(probability, 0), 1)}%`;
  return make("li", { class: name === answer ? "answer" : "" }, make("span", { class: "name" }, name), make("span", { class: "rail", "aria-hidden": "true" }, bar), make("span", { class: "share" }, percent(probability)));
}

function fillGuesses(found) {
  const guesses = found.probabilities ?? [];
  by("predictions").hidden = !guesses.length;
  by("bars").replaceChildren(...guesses.map((each) => guess(each, found.accepted ? found.label : null)));
  by("bars-note").textContent = found.accepted
    ? "Estimated probabilities. The guarantee is about the guard's answers, not about these numbers."
    : "The guard withholds all of these: do not use them as an answer.";
}

function fillSignals(found, facts) {
  const names = Object.keys(found.scores ?? {});
  by("uncertainty").hidden = !names.some((name) => found.scores[name] !== null);
  by("signals").replaceChildren(...names.map((name) => {
    const score = found.scores[name], threshold = found.thresholds?.[name] ?? facts.signals?.[name]?.threshold ?? null;
    const calibration = facts.calibration?.[name];
    return make("section", { class: "signal" },
      make("p", { class: "signal-name" }, make("b", {}, name), ` ${facts.signals?.[name]?.says ?? ""}`),
      histogram(calibration, score, threshold), make("p", { class: "reading" }, scoreWords(score, threshold, calibration)));
  }));
  const drawn = names.map((name) => facts.calibration?.[name]).filter((each) => each?.counts.length);
  const note = `Heights are square roots of counts${drawn.every(even) ? "" : "; the axis is stretched where most lie"}.`;
  if (drawn.length) by("signals").append(make("p", { class: "aside legend" }, make("span", { class: "key answered" }, "calibration pictures it answers"), make("span", { class: "key abstained" }, "those that go to a person"), note));
}

/** Show one item, or none. */
export function showVerdict(item, facts) {
  const place = by("verdict");
  place.hidden = item === null || (item.state !== "decided" && item.state !== "failed");
  if (place.hidden) { shown = null; return; }
  if (shown !== item) showPicture(item);
  shown = item;
  const { tone, state, title, why } = verdictWords(item), found = item.decision;
  place.className = `verdict tone-${tone}`;
  by("verdict-state").replaceChildren(sign(tone), make("b", {}, state));
  by("verdict-title").textContent = title;
  by("verdict-why").textContent = item.state === "decided" && found.accepted && found.confidence !== null ? `Estimated probability ${percent(found.confidence)}.` : why;
  by("verdict-near").hidden = !found?.near;
  by("verdict-near").textContent = found?.near ? "Near the threshold: another machine, or other pictures beside it, may decide otherwise." : "";
  place.querySelector(".evidence").hidden = item.state !== "decided";
  if (item.state === "decided") { fillGuesses(found); fillSignals(found, facts); }
  place.querySelector(".evidence").hidden ||= by("predictions").hidden && by("uncertainty").hidden;
}
