/* The panel of pictures: whatever names a class, a cell, a bin or a condition opens it; null where none were kept. */
const picturePanel = (() => {
  "use strict";
  const panel = document.getElementById("pictures");
  if (!panel?.showModal) return null;
  const { tile, sheets, classes, errors, surest: surestKept, clean, changed } = JSON.parse(document.getElementById("picture-data").textContent);
  const SIDE = 96, MOST = 48;
  const percent = (share) => `${(share * 100).toFixed(1)} %`;
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

  const images = (columns) => columns.sample_ids.map((id, at) => ({
    id, place: columns.places[at], label: columns.labels[at], predicted: columns.predicted[at],
    confidence: columns.confidence[at], answered: columns.answered[at],
    bin: (signal) => columns.bins[signal]?.[at],
  }));
  const kept = images(clean), before = new Map(kept.map((image) => [image.id, image.place]));
  const groups = changed.map((group) => ({ ...group, images: images(group) }));
  const surest = (some) => [...some].sort((a, b) => b.confidence - a.confidence);
  const isWrong = (image) => image.label !== image.predicted;

  /* What a key stands for: a title, what is shown of how many, and the images; the key's parts stand between colons. */
  const KINDS = {
    class: (label) => {
      const found = surest(kept.filter((image) => isWrong(image) && image.label === Number(label)));
      const all = errors[label], first = Math.min(surestKept[label], found.length), rest = found.length - first;
      const others = rest ? `, then ${count(rest, "other")} that were kept` : "";
      const note = first === all ? `All ${count(all, "wrong answer")}, the surest first.` : `The ${first} surest of ${count(all, "wrong answer")}${others}.`;
      return { title: `${classes[label]}: wrong answers`, note, found };
    },
    cell: (label, answer) => {
      const own = kept.filter((image) => image.label === Number(label) && image.predicted === Number(answer));
      const right = label === answer;
      const title = right ? `${classes[label]}: right answers` : `${classes[label]} taken for ${classes[answer]}`;
      const note = right ? "Some right answers, sampled by hash." : "The answers kept of this kind, the surest first.";
      return { title, note, found: surest(own) };
    },
    condition: (...name) => {
      const group = groups.find((each) => each.condition === name.join(":"));
      if (!group) return { found: [] };
      const drawn = group.images.some((image) => image.place !== null);
      const of = group.flips === null ? "Those the model is surest of" : `${group.images.length} of ${count(group.flips, "answer")} that were right before and are now wrong, the surest first`;
      const pairs = group.flips === null ? "" : drawn ? "; each as it was and as it is now" : "; as they were before, for making them again takes too many passes";
      const said = group.sentence && group.sentence !== group.name ? `${group.sentence}. ` : "";
      return { title: group.name, note: `${said}${of}${pairs}.`, found: group.images, pairs: drawn && group.flips !== null };
    },
    bin: (lane, at, ...signal) => {
      const name = signal.join(":"), lies = (image) => image.bin(name) === Number(at);
      const own = lane === "right" || lane === "wrong"
        ? kept.filter((image) => isWrong(image) === (lane === "wrong"))
        : groups.filter((group) => group.lane === lane).flatMap((group) => group.images);
      return { title: `${name}: ${lane}, one bar`, note: "The images kept of this bar.", found: own.filter(lies) };
    },
  };
  const chosen = (key) => {
    const [kind, ...rest] = key.split(":");
    return KINDS[kind]?.(...rest) ?? { found: [] };
  };

  let ruled = false;
  function rule() {
    if (ruled) return;
    ruled = true;
    const rules = sheets.map((sheet, at) => `.sheet-${at} { background-image: url(${sheet}); }`);
    document.head.append(Object.assign(document.createElement("style"), { textContent: rules.join("\n") }));
  }

  const make = (tag, className, text) => Object.assign(document.createElement(tag), { className, textContent: text ?? "" });

  function picture(place, words) {
    const scale = SIDE / Math.max(tile.width, tile.height), each = tile.columns * tile.rows;
    const sheet = Math.floor(place / each), at = place % each;
    const span = make("span", `tile sheet-${sheet}${scale > 1.25 ? " tiny" : ""}`);
    const left = (at % tile.columns) * tile.width * scale, top = Math.floor(at / tile.columns) * tile.height * scale;
    Object.assign(span.style, {
      width: `${tile.width * scale}px`, height: `${tile.height * scale}px`,
      backgroundSize: `${tile.columns * tile.width * scale}px auto`, backgroundPosition: `-${left}px -${top}px`,
    });
    span.setAttribute("role", "img");
    span.setAttribute("aria-label", words);
    return span;
  }

  function shown(image, pairs) {
    const truth = image.label === null ? "none of the classes" : classes[image.label], answer = classes[image.predicted];
    const row = make("li", ""), sheet = make("div", "tiles-of-one");
    const places = pairs ? [[before.get(image.id), "before"], [image.place, "now"]] : [[image.place ?? before.get(image.id), "as it is"]];
    for (const [place, when] of places) {
      if (place !== undefined && place !== null) sheet.append(picture(place, `${truth}, ${when}; the answer is ${answer}`));
    }
    const said = make("p", ""), sure = image.answered === null ? "" : image.answered ? ", answered" : ", abstained";
    said.append(make("b", "", answer), make("span", "", `in truth ${truth}`));
    const id = make("p", "id", image.id);
    id.title = image.id;
    row.append(sheet, said, make("p", "small", `${percent(image.confidence)} sure${sure}`), id);
    return row;
  }

  function open(key) {
    const { title, note, found, pairs } = chosen(key);
    if (!found.length) return;
    rule();
    document.getElementById("pictures-title").textContent = title;
    document.getElementById("pictures-note").textContent = found.length > MOST ? `${note} The first ${MOST} are shown.` : note;
    document.getElementById("pictures-list").replaceChildren(...found.slice(0, MOST).map((image) => shown(image, pairs)));
    panel.showModal();
    panel.scrollTop = 0;
    document.getElementById("pictures-title").focus();
  }

  document.getElementById("pictures-close").addEventListener("click", () => panel.close());
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });

  /* Whatever has pictures becomes a button; what has none stays as it is. */
  function dress(element) {
    const key = element.dataset.pictures, { title, found } = chosen(key);
    if (element.tagName === "BUTTON") element.hidden = !found.length;
    if (!found.length) return;
    let button = element;
    if (element.tagName !== "BUTTON") {
      button = make("button", "see");
      button.type = "button";
      button.append(...element.childNodes);
      element.append(button);
      button.setAttribute("aria-label", `${button.textContent.trim()}: see pictures of ${title}`);
    }
    button.setAttribute("aria-haspopup", "dialog");
    button.addEventListener("click", () => open(key));
  }
  document.querySelectorAll("[data-pictures]").forEach(dress);

  const choice = document.getElementById("picture-choice");
  const option = (key, text) => Object.assign(document.createElement("option"), { value: key, textContent: text });
  function listed(name, keys) {
    const group = Object.assign(document.createElement("optgroup"), { label: name });
    group.append(...keys.filter(([key]) => chosen(key).found.length).map(([key, text]) => option(key, text)));
    if (group.children.length) choice.append(group);
  }
  if (choice) {
    const order = classes.map((name, at) => at).sort((a, b) => errors[b] - errors[a]);
    listed("Wrong answers by class, most first", order.map((at) => [`class:${at}`, `${classes[at]} (${errors[at]})`]));
    listed("Under a condition", groups.map((group) => [`condition:${group.condition}`, group.name]));
    document.getElementById("picture-show").addEventListener("click", () => open(choice.value));
  }
  return { open, dress, has: (key) => chosen(key).found.length > 0 };
})();
