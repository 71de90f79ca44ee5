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

  /* Charts: interpreted expressions, so that no code is compiled at run time. */
  const views = {};
  const drawn = [...document.querySelectorAll("script.spec")].map(async (script) => {
    const place = by(script.dataset.for);
    const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" } };
    const result = await window.vegaEmbed(place, JSON.parse(script.textContent), options);
    views[script.dataset.for] = result.view;
  });
  const set = (chart, name, value) => views[chart]?.signal(name, value).runAsync();

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
  chooser?.addEventListener("change", () => set("chart-histograms", "shown", chooser.value));

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

  Promise.all(drawn).then(() => {
    if (by("slider")) slide();
    root.dataset.ready = "true";
  });
})();
