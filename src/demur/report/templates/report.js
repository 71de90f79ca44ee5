(() => {
  "use strict";
  const by = (id) => document.getElementById(id);
  const root = document.documentElement;

  /* Theme: the reader's system decides until the button is pressed. Charts use CSS colours and follow by themselves. */
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const button = by("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  prefersDark.addEventListener("change", label);
  button.hidden = false;
  label();
  document.querySelectorAll(".js").forEach((element) => { element.hidden = false; });

  const numbers = by("numbers");
  if (numbers) by("download").href = URL.createObjectURL(new Blob([numbers.textContent], { type: "application/json" }));

  /* Charts: interpreted expressions, so that no code is compiled at run time. First those in sight, the others while
     nothing else is to do, or when they come near; those in something folded once it opens. */
  const views = {}, state = {}, begun = new Map();
  const specs = [...document.querySelectorAll("script.spec")];
  const inSight = (script) => by(script.dataset.for)?.offsetParent != null;

  async function drawNow(script) {
    const place = by(script.dataset.for), key = script.dataset.for;
    const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" } };
    const words = place.getAttribute("aria-label");
    const { view } = await window.vegaEmbed(place, JSON.parse(script.textContent), options);
    views[key] = view;
    place.querySelector("svg").setAttribute("aria-hidden", "true"); // its place says what it shows, once; Vega renamed it
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", words);
    place.removeAttribute("aria-roledescription");
    Object.entries(state[key] ?? {}).forEach(([name, value]) => view.signal(name, value));
    if (state[key]) await view.runAsync();
    view.addEventListener("click", (_event, item) => { if (item?.datum) picturePanel?.open(pictureKey(item.datum)); });
  }
  function draw(script) {
    if (!begun.has(script)) begun.set(script, drawNow(script));
    return begun.get(script);
  }
  const set = (chart, name, value) => {
    state[chart] = { ...state[chart], [name]: value };
    views[chart]?.signal(name, value).runAsync();
  };
  const pictureKey = (datum) => datum.pictures ?? (datum.bin === undefined ? "" : `bin:${datum.outcome}:${datum.bin}:${datum.signal}`);
  const idle = () => new Promise((go) => (window.requestIdleCallback ? requestIdleCallback(go, { timeout: 200 }) : setTimeout(go, 0)));

  /* Slider: one position per threshold of the chosen signal. */
  const curves = JSON.parse(by("curves").textContent);
  const percent = (value, digits) => `${(value * 100).toFixed(digits)} %`;
  const threshold = (value) => String(Number(value.toPrecision(4))).replace("-", "−");
  const bold = (text) => Object.assign(document.createElement("b"), { textContent: text });

  function read(signal, at) {
    const [uncertainty, coverage, risk] = curves[signal][at];
    const parts = [
      "Answering when uncertainty is at most ", bold(threshold(uncertainty)), ": ", bold(percent(coverage, 1)), " of images answered, ",
      bold(percent(1 - risk, 1)), " of the answers right, ", bold(percent(risk, 2)), " wrong.",
    ];
    by("readout").replaceChildren(...parts);
    by("slider").setAttribute("aria-valuetext", by("readout").textContent);
    set("chart-risk-coverage", "shown", signal);
    set("chart-risk-coverage", "at", at);
  }

  function slide() {
    const slider = by("slider"), signal = by("signal"), certified = by("certified");
    const last = () => curves[signal.value].length - 1;
    const show = () => read(signal.value, Number(slider.value));
    slider.max = last();
    slider.value = by("readout").dataset.at;
    slider.addEventListener("input", show);
    signal.addEventListener("change", () => {
      const part = Number(slider.value) / Number(slider.max);
      slider.max = last();
      slider.value = Math.round(part * last());
      show();
    });
    certified?.addEventListener("click", () => {
      signal.value = certified.dataset.signal;
      slider.max = last();
      slider.value = certified.dataset.at;
      show();
    });
    show();
  }

  const chooser = by("histogram-signal");
  chooser?.addEventListener("change", () => {
    set("chart-histograms", "shown", chooser.value);
    fillBars();
  });

  /* The bars of the chosen signal as a table, for those who see no chart or use no pointer. */
  const LANES = ["right", "wrong", "corrupted", "attacked"];
  const cell = (tag, text, scope) => {
    const made = Object.assign(document.createElement(tag), { textContent: text });
    if (scope) made.scope = scope;
    return made;
  };
  function fillBars() {
    const table = by("bars"), script = specs.find((each) => each.dataset.for === "chart-histograms");
    if (!table || !script) return;
    const rows = JSON.parse(script.textContent).datasets.rows.filter((row) => row.signal === chooser.value);
    const head = document.createElement("tr"), body = document.createElement("tbody");
    head.append(...["From", "to", ...LANES].map((name) => cell("th", name, "col")));
    for (const at of [...new Set(rows.map((row) => row.bin))].sort((a, b) => a - b)) {
      const own = rows.filter((row) => row.bin === at), line = document.createElement("tr");
      line.append(cell("th", threshold(own[0].low), "row"), cell("td", threshold(own[0].high)));
      for (const lane of LANES) {
        const bar = own.find((row) => row.outcome === lane), place = document.createElement("td");
        const count = Object.assign(document.createElement("span"), { textContent: (bar?.count ?? 0).toLocaleString("en") });
        if (bar) count.dataset.pictures = pictureKey(bar);
        place.className = "num";
        place.append(count);
        line.append(place);
        if (bar) picturePanel?.dress(count);
      }
      body.append(line);
    }
    const heads = document.createElement("thead");
    heads.append(head);
    table.replaceChildren(table.caption, heads, body);
  }
  const barsFolded = by("bars")?.closest("details");
  barsFolded?.addEventListener("toggle", () => { if (barsFolded.open) fillBars(); });

  /* Tables: a press on a column's head sorts the last body by it; what has no number stays at the end. */
  const key = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  const number = (text) => (/^[\d,.]+$/.test(text) ? Number(text.replaceAll(",", "")) : Number(text));
  const compare = (a, b) => (Number.isNaN(number(a)) || Number.isNaN(number(b)) ? a.localeCompare(b) : number(a) - number(b));

  function sort(table, head, column) {
    const up = head.getAttribute("aria-sort") !== "ascending";
    const body = [...table.tBodies].at(-1), rows = [...body.rows];
    const empty = (row) => ["", "—"].includes(key(row, column));
    rows.sort((a, b) => empty(a) - empty(b) || (up ? 1 : -1) * compare(key(a, column), key(b, column)));
    body.append(...rows);
    table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
  }

  document.querySelectorAll("table.sortable").forEach((table) => {
    table.querySelectorAll("thead th").forEach((head, column) => {
      const press = Object.assign(document.createElement("button"), { type: "button", title: "Sort" });
      press.append(...head.childNodes);
      press.addEventListener("click", () => sort(table, head, column));
      head.append(press);
    });
  });

  /* Tables wider than their place say so, and which way there is more. */
  const scrollers = [...document.querySelectorAll(".scroller")];
  function mark(scroller) {
    const hidden = scroller.scrollWidth - scroller.clientWidth;
    const ways = [scroller.scrollLeft > 4 && "left", hidden - scroller.scrollLeft > 4 && "right"].filter(Boolean);
    if (hidden > 4) scroller.dataset.more = ways.join(" ");
    else delete scroller.dataset.more;
  }
  scrollers.forEach((scroller) => scroller.addEventListener("scroll", () => mark(scroller), { passive: true }));
  const wide = new ResizeObserver((entries) => entries.forEach((entry) => mark(entry.target.closest(".scroller"))));
  scrollers.forEach((scroller) => [scroller, ...scroller.children].forEach((each) => wide.observe(each)));

  const near = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(specs.find((each) => each.dataset.for === entry.target.id)));
  }, { rootMargin: "600px 0px" });
  const begin = async () => {
    await Promise.all(specs.filter((script) => inSight(script) && by(script.dataset.for).getBoundingClientRect().top < window.innerHeight).map(draw));
    if (by("slider")) slide();
    root.dataset.ready = "true";
    specs.forEach((script) => { if (by(script.dataset.for)) near.observe(by(script.dataset.for)); });
    for (const script of specs) {
      await idle();
      if (inSight(script)) await draw(script);
    }
    root.dataset.drawn = "true";
  };
  begin();
})();
