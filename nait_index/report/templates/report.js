"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const CATEGORIES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7bd1", "#a6a600"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star"];
  const drawn = new Map(); // element -> what draws it again

  // ---- colours ---------------------------------------------------------------------------------------------------

  const isDark = () => dark.matches && !root.classList.contains("printing");
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function colour(value) {
    if (value === "--diverging") {
      return isDark()
        ? [[0, "#b96a1c"], [0.25, "#6f4a24"], [0.5, "#262b33"], [0.75, "#2c597b"], [1, "#4a9fd6"]]
        : [[0, "#e08a45"], [0.25, "#f3c9a3"], [0.5, "#f6f5f1"], [0.75, "#a3c9e3"], [1, "#3f8cc0"]];
    }
    return typeof value === "string" && value.startsWith("--") ? css(value) : value;
  }

  /** Copy a figure with the colours that it names; nothing but colours is looked up. */
  function coloured(value, key) {
    if (Array.isArray(value)) return value.map((one) => coloured(one, key));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, coloured(one, name)]));
    }
    return /color(scale)?$/.test(key || "") ? colour(value) : value;
  }

  const axis = () => ({
    gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true, fixedrange: true,
    tickfont: { color: css("--ink") }, title: { font: { color: css("--muted"), size: 13 }, standoff: 8 },
  });

  function merged(base, own) {
    const result = { ...base };
    for (const [name, value] of Object.entries(own || {})) {
      const both = value && base[name] && typeof value === "object" && !Array.isArray(value);
      result[name] = both ? merged(base[name], value) : value;
    }
    return result;
  }

  function layout(own) {
    return merged({
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", dragmode: false,
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("--ink") },
      xaxis: axis(), yaxis: axis(),
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", xanchor: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--chosen") },
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink") }, align: "left" },
    }, own);
  }

  // ---- figures ---------------------------------------------------------------------------------------------------

  const QUIET = { displayModeBar: false };

  /** Draw at the size of the place; the page itself sees to what happens when that changes. */
  function plot(element, traces, own, config) {
    element.style.height = `${own.height}px`;
    Plotly.react(element, traces, { ...own, width: element.clientWidth }, config);
  }

  /** Names on the left take at most a third of a narrow figure. */
  function narrowed(figure, width) {
    const cell = figure.square ? (width - (width < 480 ? 90 : 130)) / figure.data[0].x.length : 0;
    if (width >= 480 && !figure.square) return figure;
    const longest = figure.square ? 10 : Math.max(8, Math.floor(width / 2.6 / 7));
    const cut = (text) => {
      const own = text.replaceAll("&amp;", "&").replaceAll("&lt;", "<").replaceAll("&gt;", ">");
      if (own.length <= longest) return text;
      const part = `${own.slice(0, longest / 2)}…${own.slice(-Math.floor(longest / 2) + 1)}`;
      return part.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    };
    const own = structuredClone(figure);
    if (own.square) {
      // Numbers that would run into one another are left to pointing, and to the table.
      const size = Math.min(12, Math.floor(cell / 3.6));
      if (size < 7) own.data[0].texttemplate = "";
      else own.data[0].textfont = { size };
    }
    if (width >= 480) return own;
    if (own.layout.xaxis?.type === "log") {
      own.layout.xaxis.ticktext = own.layout.xaxis.ticktext.map((text) => (text.includes("3") ? "" : text));
    }
    if (own.layout.yaxis?.ticktext) own.layout.yaxis.ticktext = own.layout.yaxis.ticktext.map(cut);
    if (own.square) {
      own.layout.xaxis.ticktext = own.layout.xaxis.ticktext.map(cut);
      own.layout.font = { size: 11 };
      own.layout.xaxis.tickangle = -60;
      own.layout.height = Math.round(cell * own.data[0].x.length + 120);
    }
    return own;
  }

  function drawFigure(element) {
    const figure = data.figures[element.dataset.figure];
    if (!figure) return;
    const draw = () => {
      const own = coloured(narrowed(figure, element.clientWidth));
      plot(element, own.data, layout(own.layout), QUIET);
    };
    draw();
    drawn.set(element, draw);
  }

  /** Draw what can be seen; what is hidden is drawn when it is shown. */
  function drawVisible(within) {
    for (const element of within.querySelectorAll(".figure[data-figure]")) {
      if (!drawn.has(element) && element.offsetParent !== null) drawFigure(element);
    }
  }

  const redraw = () => { for (const draw of drawn.values()) draw(); };

  // ---- tabs ------------------------------------------------------------------------------------------------------

  function choose(tab, focus) {
    for (const other of tab.parentElement.children) {
      const is = other === tab;
      other.setAttribute("aria-selected", String(is));
      other.tabIndex = is ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = !is;
    }
    if (focus) tab.focus();
    drawVisible(document.getElementById(tab.getAttribute("aria-controls")));
  }

  for (const list of document.querySelectorAll('[role="tablist"]')) {
    list.addEventListener("click", (event) => {
      const tab = event.target.closest('[role="tab"]');
      if (tab) { choose(tab, false); follow(list, tab); }
    });
    list.addEventListener("keydown", (event) => {
      const tabs = [...list.children], at = tabs.indexOf(document.activeElement);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      const tab = tabs[(to + tabs.length) % tabs.length];
      choose(tab, true);
      follow(list, tab);
    });
  }

  /** What is chosen in one capability is chosen in all: the field to compare by, and the capability of the map. */
  function follow(list, tab) {
    const at = [...list.children].indexOf(tab);
    if (list.dataset.tabs === "field") {
      for (const other of document.querySelectorAll('[data-tabs="field"]')) {
        if (other !== list && other.children[at]) choose(other.children[at], false);
      }
    } else if (picker && picker.value !== String(at)) {
      picker.value = String(at);
      drawMap();
    }
  }

  // ---- the map ---------------------------------------------------------------------------------------------------

  const points = data.map;
  const place = document.getElementById("map-figure");
  const picker = document.getElementById("map-capability");
  const panel = document.getElementById("map-sample");
  let picked = null; // index of a point

  const mode = () => document.querySelector('input[name="map-colour"]:checked').value;
  const capability = () => (picker ? Number(picker.value) : -1);
  const narrow = () => place.clientWidth < 600;
  const at = (name, list) => list.map((point) => points[name][point]);

  function trace(name, list, marker) {
    return {
      type: "scatter", mode: "markers", name, x: at("x", list), y: at("y", list), customdata: list, hoverinfo: "none",
      marker: { size: narrow() ? 4.5 : 6, opacity: 0.85, line: { width: 0 }, ...marker },
    };
  }

  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const brief = (text) => escaped(text.length > 24 ? `${text.slice(0, 23)}…` : text);

  function traces() {
    const all = points.x.map((_, point) => point), own = capability();
    if (mode() === "source") {
      const known = new Set(points.coloured);
      const rest = all.filter((point) => !known.has(points.source[point]));
      const groups = points.coloured.map((source, number) => trace(
        brief(points.sources[source]), all.filter((point) => points.source[point] === source),
        { color: CATEGORIES[number], symbol: SYMBOLS[number] },
      ));
      return rest.length ? [trace("all others", rest, { color: css("--other"), opacity: 0.5 }), ...groups] : groups;
    }
    if (mode() === "score") {
      const percentile = points.percentile[own];
      const order = all.toSorted((a, b) => percentile[a] - percentile[b]);
      return [{
        ...trace("score", order, {
          color: order.map((point) => percentile[point]), cmin: 0, cmax: 100, colorscale: "Cividis", reversescale: !isDark(),
          colorbar: {
            title: { text: "score: better than so many % of rows", side: "top", font: { size: 12 } }, orientation: "h",
            x: 0, xanchor: "left", y: 1.01, yanchor: "bottom", thickness: 10, len: narrow() ? 0.9 : 0.5, outlinewidth: 0,
            tickfont: { size: 11 },
          },
        }),
        showlegend: false,
      }];
    }
    const lit = new Set(points.chosen[own]);
    return [
      trace("not chosen", all.filter((point) => !lit.has(point)), { color: css("--other"), opacity: 0.6 }),
      trace(`chosen for ${brief(points.names[own])}`, points.chosen[own], { color: css("--chosen") }),
    ];
  }

  function ring() {
    if (picked === null) return [];
    return [{
      type: "scatter", mode: "markers", x: [points.x[picked]], y: [points.y[picked]], hoverinfo: "skip", showlegend: false,
      marker: { size: 17, color: "rgba(0,0,0,0)", line: { color: css("--alert"), width: 3 } },
    }];
  }

  function drawMap() {
    if (!points) return;
    const empty = { visible: false, range: [-1.05, 1.05], fixedrange: narrow() };
    const own = layout({
      height: narrow() ? 430 : 580, margin: { l: 8, r: 8, t: mode() === "source" && narrow() ? 118 : 64, b: 8 },
      xaxis: empty, yaxis: empty, dragmode: narrow() ? false : "pan", showlegend: true, uirevision: "map",
      legend: { itemsizing: "constant", font: { size: 12 }, itemclick: false, itemdoubleclick: false },
    });
    plot(place, [...traces(), ...ring()], own, {
      displaylogo: false, scrollZoom: false,
      modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d"]], displayModeBar: !narrow(),
    });
    if (!drawn.has(place)) watch();
    drawn.set(place, drawMap);
    const lit = document.getElementById("map-lit");
    if (picker) lit.textContent = `${points.chosen[capability()].length.toLocaleString("en")} points are chosen for ${points.names[capability()]}`;
  }

  function facts(point) {
    const own = capability();
    const said = [points.sources[points.source[point]], `${points.tokens[point].toLocaleString("en")} tokens`];
    if (own >= 0) said.push(`${points.names[own]}: better than ${points.percentile[own][point]} %`);
    return said.join(" · ");
  }

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);

  function line(parent, tag, className, text) {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    parent.append(element);
    return element;
  }

  const start = (text, longest) => (text.length > longest ? `${text.slice(0, longest)}…` : text);

  function showTip(point, event) {
    tip.replaceChildren();
    line(tip, "div", "facts", facts(point));
    line(tip, "div", "", start(points.text[point], narrow() ? 140 : 320)).dir = "auto";
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), gap = 14;
    const left = event.clientX + gap + box.width > innerWidth ? event.clientX - gap - box.width : event.clientX + gap;
    const top = Math.min(event.clientY + gap, innerHeight - box.height - 8);
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, top)}px`;
  }

  function pick(point) {
    picked = point;
    panel.replaceChildren();
    line(panel, "p", "facts", `${facts(point)} · id ${points.ids[point]}`);
    const choosing = points.names.filter((_, own) => points.chosen[own].includes(point));
    if (points.names.length) line(panel, "p", "facts", `chosen for ${choosing.join(", ") || "none"}`);
    line(panel, "div", "text", points.text[point]).dir = "auto";
    drawMap();
  }

  function watch() {
    place.on("plotly_hover", (event) => {
      const point = event.points[0].customdata;
      if (point !== undefined) showTip(point, event.event);
    });
    place.on("plotly_unhover", () => { tip.hidden = true; });
    place.on("plotly_click", (event) => {
      const point = event.points[0].customdata;
      if (point !== undefined) pick(point);
    });
    addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  }

  function step(by) {
    const own = capability();
    const list = own < 0 ? points.x.map((_, point) => point) : points.chosen[own]; // best first
    if (!list.length) return;
    const next = list.includes(picked) ? (list.indexOf(picked) + by + list.length) % list.length : 0;
    pick(list[next]);
    document.getElementById("map-place").textContent = `${next + 1} of ${list.length}`;
  }

  if (points) {
    document.getElementById("map-previous").addEventListener("click", () => step(-1));
    document.getElementById("map-next").addEventListener("click", () => step(1));
    for (const input of document.querySelectorAll('input[name="map-colour"]')) input.addEventListener("change", drawMap);
    picker?.addEventListener("change", () => {
      drawMap();
      const tab = document.getElementById(`tab-${picker.value}`);
      if (tab) choose(tab, false);
      if (picked !== null) pick(picked);
    });
  }

  // ---- all of it -------------------------------------------------------------------------------------------------

  drawVisible(document);
  if (points) drawMap();
  dark.addEventListener("change", redraw);
  let width = innerWidth, waiting;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 120);
  });
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    const hidden = document.querySelectorAll(".capability[hidden], .field[hidden]");
    for (const one of hidden) one.hidden = false;
    drawVisible(document);
    redraw();
    addEventListener("afterprint", () => {
      root.classList.remove("printing");
      for (const one of hidden) one.hidden = true;
      redraw();
    }, { once: true });
  });
})();
