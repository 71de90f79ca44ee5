/* One picture's uncertainty against those of calibration, with the threshold between answering and abstaining. */

import { count, draw, figure, make } from "./words.js";

/** Where a score lies across the bins, which are drawn equally wide: 0 at the first edge, 1 at the last. */
export function place(edges, score) {
  const bins = edges.length - 1;
  if (score <= edges[0]) return 0;
  if (score >= edges[bins]) return 1;
  const bin = edges.findLastIndex((edge) => edge <= score);
  return (bin + (score - edges[bin]) / (edges[bin + 1] - edges[bin])) / bins;
}

/** About which share of the calibration pictures is at most as uncertain. */
export function shareBelow({ edges, counts }, score) {
  const total = counts.reduce((sum, each) => sum + each, 0);
  if (!total) return null;
  const at = place(edges, score) * counts.length, whole = Math.floor(at);
  const below = counts.slice(0, whole).reduce((sum, each) => sum + each, 0) + (counts[whole] ?? 0) * (at - whole);
  return below / total;
}

/** Heights are square roots of counts, as in the report: beside the many that are sure, the others would not be seen. */
function bars({ edges, counts }, split) {
  const most = Math.sqrt(Math.max(...counts, 1)), bins = counts.length;
  const pieces = counts.flatMap((each, bin) => {
    if (!each) return [];
    const height = Math.sqrt(each) / most, from = bin, to = bin + 1, cut = Math.min(Math.max(split * bins, from), to);
    const piece = (left, right, kind) => (right > left ? [draw("rect", { class: kind, x: left + 0.04, width: Math.max(right - left - 0.08, 0.02), y: 1 - height, height })] : []);
    return [...piece(from, cut, "answered"), ...piece(cut, to, "abstained")];
  });
  return draw("svg", { viewBox: `0 0 ${bins} 1`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" }, ...pieces);
}

function label(kind, text, at) {
  const made = make("span", { class: `label ${kind}` }, text);
  made.style.left = `${100 * at}%`; // an assignment, which the policy allows: an attribute it would not
  made.style.translate = `${-100 * at}%`;
  return made;
}

function line(kind, at) {
  const made = make("span", { class: `line ${kind}` });
  made.style.left = `${100 * at}%`;
  return made;
}

function beside(calibration, score) {
  const share = shareBelow(calibration, score), n = calibration.n ?? calibration.counts.reduce((sum, each) => sum + each, 0);
  if (share === null) return "";
  const hundred = Math.round(100 * share);
  const above = hundred >= 100 ? "more uncertain than nearly all" : hundred <= 0 ? "surer than nearly all" : `more uncertain than about ${hundred} in 100`;
  return ` It is ${above} of the ${count(n)} pictures it was calibrated on.`;
}

/** What a signal says of a picture, in words. */
export function scoreWords(score, threshold, calibration) {
  if (score === null || score === undefined) return "This picture has no score.";
  const bound = threshold === null || threshold === undefined ? "" : score <= threshold ? ", at most the threshold" : ", above the threshold";
  return `${figure(score)}${bound}${bound ? ` ${figure(threshold)}` : ""}.${calibration ? beside(calibration, score) : ""}`;
}

/** Whether bars that are drawn equally wide are so. */
export const even = ({ edges }) => edges[1] - edges[0] > 0.5 * (edges.at(-1) - edges.at(-2));

/** The drawing of one signal; null where nothing is known to draw it against. */
export function histogram(calibration, score, threshold) {
  if (!calibration || calibration.counts.length < 1) return null;
  const bound = threshold === null || threshold === undefined ? null : place(calibration.edges, threshold);
  const edges = calibration.edges, own = score === null || score === undefined ? null : place(edges, score);
  const beyond = own !== null && (score < edges[0] || score > edges.at(-1));
  const plot = make("div", { class: "plot" }, bars(calibration, bound ?? 1));
  if (bound !== null) plot.append(line("threshold", bound));
  if (own !== null) plot.append(line("own", own));
  const upper = own === null ? [] : [label("own", `this picture ${figure(score)}${beyond ? " (beyond the drawing)" : ""}`, own)];
  const lower = bound === null ? [] : [label("threshold", `threshold ${figure(threshold)}`, bound)];
  return make("div", { class: "histogram", "aria-hidden": "true" },
    make("div", { class: "labels above" }, ...upper), plot, make("div", { class: "labels below" }, ...lower),
    make("div", { class: "ends" }, make("span", {}, `${figure(edges[0])} surest`), make("span", {}, `unsure ${figure(edges.at(-1))}`)));
}
