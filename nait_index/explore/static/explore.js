// The page: what is typed goes to the server, what comes back is put on it as text, never as HTML.

const $ = (id) => document.getElementById(id);
const PAGE = 20;
const SHARES = [0.1, 0.2, 0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 12, 15, 20, 25, 30, 40, 50, 65, 80, 100];
const editable = document.body.dataset.editable === "true";

const state = { pasted: null, pastedText: "", first: 0, found: null, encoding: null, asking: null, paging: null };

// ---- talking to the server ------------------------------------------------------------------------------------

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer any more; start nait-index explore again");
  }
  if (answer.status === 403) throw new Error((await answer.text()).trim());
  const value = await answer.json();
  if (value.error) throw new Error(value.error);
  return value;
}

const send = (path, value, options = {}) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value), ...options });

function wanted() {
  const query = new URLSearchParams();
  if (source() === "stored") for (const name of picked()) query.append("name", name);
  else if (state.pasted) query.set("pasted", state.pasted);
  query.set("top", $("top").value);
  query.set("method", $("method").value);
  query.set("where", $("where").value);
  return query;
}

const source = () => document.querySelector("input[name=source]:checked").value;
const picked = () => [...document.querySelectorAll("#capabilities input:checked")].map((own) => own.value);

// ---- saying what goes on --------------------------------------------------------------------------------------

function say(text, busy = false) {
  $("status").textContent = text;
  $("status").classList.toggle("busy", busy);
  $("results").setAttribute("aria-busy", String(busy));
}

const FIELDS = { text: "text-error", top: "top-error", where: "where-error", name: "keep-error" };

function clearErrors(...fields) {
  for (const field of fields.length ? fields : Object.keys(FIELDS)) {
    const line = $(FIELDS[field]);
    if (line) line.textContent = "";
    $(field)?.removeAttribute("aria-invalid");
  }
  $("error").textContent = "";
}

function complain(message, field) {
  const where = field ?? (message.includes("--where") ? "where" : message.includes("--top") ? "top" : null);
  if (where) {
    $(FIELDS[where]).textContent = message;
    $(where).setAttribute("aria-invalid", "true");
  } else {
    $("error").textContent = message;
  }
  say("");
}

// ---- examples -------------------------------------------------------------------------------------------------

async function find() {
  clearErrors();
  const text = $("text").value;
  if (new Blob([text]).size > Number(document.body.dataset.maxBytes)) {
    complain("this is more text than the page takes; store so many examples with 'nait-index capability add'", "text");
    return;
  }
  state.asking?.abort();
  const asking = (state.encoding = new AbortController());
  $("find").textContent = "Stop";
  say("Reading and encoding the examples…", true);
  bringResults();
  const watching = setInterval(() => sayHowFar(asking.signal), 700);
  try {
    const made = await send("/api/examples", { text }, { signal: asking.signal });
    state.pasted = made.pasted;
    state.pastedText = text;
    state.note = describe(made);
  } catch (error) {
    if (error.name === "AbortError") say("Stopped.");
    else complain(error.message, "text");
    return;
  } finally {
    clearInterval(watching);
    state.encoding = null;
    $("find").textContent = "Find rows";
    updateKeep();
  }
  await choose();
}

async function sayHowFar(signal) {
  try {
    const { model, done, of } = await ask("/api/status", { signal });
    if (signal.aborted || !state.encoding) return;
    if (model === "loading") say("Loading the model…", true);
    else if (of) say(`Encoding the examples: ${count(done)} of ${count(of)}…`, true);
  } catch {
    // The request that this is about says what is wrong.
  }
}

// On a narrow screen the results lie below the form.
function bringResults() {
  if (matchMedia("(max-width: 900px)").matches) $("results").scrollIntoView({ block: "start" });
}

function describe(made) {
  const said = [`${count(made.examples)} ${made.examples === 1 ? "example" : "examples"}`];
  if (made.truncated) said.push(`${count(made.truncated)} cut to the model's length`);
  if (made.rejected) {
    const more = made.rejected > made.reasons.length ? "; …" : "";
    said.push(`${count(made.rejected)} could not be used (${made.reasons.join("; ")}${more})`);
  }
  return said.join(", ");
}

async function listCapabilities(check = []) {
  const kept = new Set([...picked(), ...check]);
  const found = await ask("/api/capabilities");
  $("capabilities").replaceChildren(
    ...found.map((own) => {
      const box = make("input", { type: "checkbox", value: own.name, checked: kept.has(own.name) });
      box.addEventListener("change", () => choose());
      const label = make("label", {}, box, make("b", {}, own.name), make("small", {}, `${count(own.examples)} examples`));
      return make("li", {}, label);
    }),
  );
  $("none-stored").hidden = found.length > 0;
}

async function keep() {
  clearErrors("name");
  const button = $("keep-button");
  button.disabled = true;
  try {
    const name = $("name").value;
    const kept = await send("/api/keep", { pasted: state.pasted, name, replace: $("replace").checked });
    $("version").textContent = kept.version;
    $("replace").checked = false;
    for (const box of document.querySelectorAll("#capabilities input")) box.checked = false;
    await listCapabilities([kept.name]);
    show("stored");
    state.kept = `Stored as '${kept.name}', ${count(kept.examples)} examples; the index is at version ${kept.version}`;
    await choose();
  } catch (error) {
    complain(error.message, "name");
  } finally {
    updateKeep();
  }
}

function updateKeep() {
  if (!editable) return;
  const fresh = source() === "pasted" && state.pasted && $("text").value === state.pastedText;
  $("keep-button").disabled = !(fresh && $("name").value.trim());
  $("keep-hint").textContent = fresh ? "" : "Find rows for them first.";
}

function show(which) {
  document.querySelector(`input[name=source][value=${which}]`).checked = true;
  $("pasted").hidden = which !== "pasted";
  $("stored").hidden = which !== "stored";
  $("keep").hidden = editable && which !== "pasted";
  updateKeep();
}

// ---- choosing -------------------------------------------------------------------------------------------------

async function choose() {
  if (state.encoding && source() === "pasted") return; // it chooses in the end
  state.asking?.abort();
  clearErrors("top", "where");
  const ready = source() === "stored" ? picked().length : state.pasted;
  setDownloads(null);
  if (!ready) {
    $("found").hidden = true;
    $("empty").hidden = false;
    say("");
    return;
  }
  const asking = (state.asking = new AbortController());
  say("Scoring the rows…", true);
  $("found").classList.add("stale");
  const query = wanted();
  const began = performance.now();
  try {
    const found = await ask(`/api/choice?${query}`, { signal: asking.signal });
    const rows = await ask(`/api/rows?${query}&first=0&count=${PAGE}`, { signal: asking.signal });
    state.found = found;
    draw(found);
    drawRows(rows, 0);
    state.query = query;
    setDownloads(query);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    say([source() === "pasted" ? state.note : state.kept, `scored in ${seconds} s`].filter(Boolean).join(" · "));
    state.kept = "";
  } catch (error) {
    if (error.name === "AbortError") return;
    complain(error.message);
    if (!$("found").hidden) say("What is shown below is what was chosen before.");
    return;
  }
  $("found").classList.remove("stale");
}

function setDownloads(query) {
  for (const part of ["rows", "meta"]) {
    const link = $(`download-${part}`);
    if (query) link.href = `/download/${part}?${query}`;
    else link.removeAttribute("href");
    link.setAttribute("aria-disabled", String(!query));
  }
}

async function turn(first) {
  state.paging?.abort();
  const paging = (state.paging = new AbortController());
  try {
    const query = new URLSearchParams(state.query);
    query.set("first", first);
    query.set("count", PAGE);
    drawRows(await ask(`/api/rows?${query}`, { signal: paging.signal }), first);
    $("rows-title").scrollIntoView({ block: "start" });
  } catch (error) {
    if (error.name !== "AbortError") complain(error.message);
  }
}

// ---- drawing --------------------------------------------------------------------------------------------------

const count = (number) => number.toLocaleString("en");
const figures = (number, digits = 3) => number.toLocaleString("en", { maximumSignificantDigits: digits, minimumSignificantDigits: Number.isInteger(number) ? 1 : digits }).replace("-", "−");

const named = (number, decimals) => number.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).replace("-", "−");

function make(tag, properties = {}, ...children) {
  const own = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-")) own.setAttribute(name, value);
    else own[name] = value;
  }
  own.append(...children);
  return own;
}

function draw(found) {
  $("empty").hidden = true;
  $("found").hidden = false;
  const share = ((100 * found.rows) / found.available).toPrecision(3).replace(/\.?0+$/, "");
  const among = found.available === Number(document.body.dataset.rows) ? "" : " that pass the filter";
  $("headline").textContent = `${count(found.rows)} of ${count(found.available)} rows${among} are chosen (${share}%)`;
  $("reasons").replaceChildren(...found.reasons.map((own) => make("li", {}, own)));
  $("skills").replaceChildren(...found.skills.map((own, at) => skill(own, at, found)));
  $("balance").replaceChildren(...found.balance.map(balance));
}

function skill(own, at, found) {
  const box = make("section", { className: "skill" });
  box.style.setProperty("--skill", `var(--skill-${at % 6})`);
  const cut = own.cut < own.depth ? `the ${count(own.cut)} best; the last of them scores ${figures(own.score)}` : "every row is chosen";
  box.append(
    make("h3", {}, found.skills.length > 1 || own.name !== "examples" ? own.name : "Scores of the rows, best first"),
    make("p", { className: "said" }, `By ${$("method").value}: ${cut}.`),
    curve(own),
    make("div", { className: "two" },
      border("Just in", "the last that are chosen", own.last, found.skills.length === 1),
      border("Just out", "the first that are not", own.next, found.skills.length === 1),
    ),
  );
  return box;
}

function border(title, hint, rows, open) {
  if (!rows.length) return "";
  const list = make("details", { className: "border", open }, make("summary", {}, make("b", {}, title), " ", make("small", {}, hint)));
  list.append(...rows.map(row));
  return list;
}

function svg(tag, attributes, ...children) {
  const own = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) own.setAttribute(name, value);
  own.append(...children);
  return own;
}

function curve(own) {
  const width = Math.max(280, $("skills").clientWidth - 36 || 800), height = 240;
  const left = 52, right = 14, top = 16, bottom = 26;
  const scores = own.curve.map(([, score]) => score);
  const high = Math.max(...scores), low = Math.min(...scores), span = high - low || 1;
  const x = (rank) => left + ((rank - 1) / Math.max(own.depth - 1, 1)) * (width - left - right);
  const y = (score) => top + ((high - score) / span) * (height - top - bottom);
  const line = (points) => points.map(([rank, score], at) => `${at ? "L" : "M"}${x(rank).toFixed(1)} ${y(score).toFixed(1)}`).join("");
  const best = own.curve.filter(([rank]) => rank <= own.cut), rest = own.curve.filter(([rank]) => rank >= own.cut);
  const label = `Scores of ${count(own.depth)} rows by rank, from ${figures(high)} to ${figures(low)}; the cut is at rank ${count(own.cut)}, score ${figures(own.score)}`;
  const figure = svg("svg", { class: "curve", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
  const levels = ticks(low, high), decimals = Math.max(0, -Math.floor(Math.log10(levels[1] - levels[0] || 1)));
  for (const score of levels) {
    figure.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(score), y2: y(score) }));
    figure.append(svg("text", { x: left - 8, y: y(score) + 4, "text-anchor": "end" }, named(score, decimals)));
  }
  for (const rank of ticks(1, own.depth)) {
    if (x(rank) > left + 50) figure.append(svg("text", { x: x(rank), y: height - 6, "text-anchor": "middle" }, count(Math.round(rank))));
  }
  figure.append(svg("text", { x: left, y: height - 6 }, "rank"));
  const cut = x(own.cut), after = cut < width - 130;
  figure.append(
    svg("path", { class: "area", d: `${line(best)}L${cut.toFixed(1)} ${height - bottom}L${left} ${height - bottom}Z` }),
    svg("path", { class: "rest", d: line(rest) }),
    svg("path", { class: "best", d: line(best) }),
    svg("line", { class: "cut", x1: cut, x2: cut, y1: top - 6, y2: height - bottom }),
    svg("text", { class: "cut-name", x: after ? cut + 6 : cut - 6, y: top + 4, "text-anchor": after ? "start" : "end" }, `cut at ${count(own.cut)}`),
  );
  return figure;
}

function ticks(low, high) {
  const raw = (high - low) / 4;
  if (!(raw > 0)) return [low];
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((own) => own * unit).find((own) => own >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return found;
}

function balance(own) {
  const box = make("div", {}, make("h4", {}, `By ${own.by}`));
  const list = make("div", { className: "groups" });
  for (const group of own.groups) {
    const bar = make("i", { className: !group.certain ? "unsure" : group.ratio < 1 ? "less" : "" });
    // Twice as many is as far from the middle as half as many; eight times fills the half.
    const reach = Math.min(1, Math.abs(Math.log2(Math.max(group.ratio, 1e-9))) / 3) * 50;
    bar.style.width = `${Math.max(reach, 0.6)}%`;
    bar.style.left = group.ratio < 1 ? `${50 - reach}%` : "50%";
    const said = `${group.name}: ${count(group.chosen)} of the chosen, ${count(group.corpus)} of all; 95 % between ${figures(group.low)} and ${figures(group.high)} times`;
    list.append(
      make("span", { className: "name", title: said }, group.name),
      make("span", { className: "bar", title: said, "aria-hidden": "true" }, bar),
      make("span", { className: "ratio", title: said }, group.chosen ? `× ${group.ratio < 0.095 ? group.ratio.toFixed(2) : group.ratio.toFixed(1)}` : "none", " ", make("small", {}, `${count(group.chosen)} of ${count(group.corpus)}`)),
    );
  }
  box.append(list);
  const notes = [];
  if (own.left_out) notes.push(`${count(own.left_out)} more groups say less`);
  if (own.groups.some((group) => !group.certain)) notes.push("grey: may be chance");
  if (!own.whole) notes.push(`counted on ${count(own.corpus_read)} rows drawn at random`);
  if (notes.length) box.append(make("p", { className: "hint" }, `${notes.join("; ")}.`));
  return box;
}

function drawRows(rows, first) {
  state.first = first;
  $("rows").replaceChildren(...rows.map(row));
  const last = first + rows.length, all = state.found.rows;
  $("where-in-pages").textContent = rows.length ? `${count(first + 1)} to ${count(last)} of ${count(all)}` : "";
  $("earlier").disabled = first === 0;
  $("later").disabled = last >= all;
}

function row(own) {
  const box = $("row-template").content.cloneNode(true).firstElementChild;
  const [rank, preview, aside] = box.querySelector("summary").children;
  rank.textContent = count(own.rank);
  preview.textContent = own.parts.map((part) => part.text).join("  ›  ");
  const from = [own.capability, own.source].filter(Boolean).join(" · ");
  aside.append(make("span", { className: "source" }, `${from} · `), figures(own.score, 4));
  const facts = [own.source, `${count(own.tokens)} tokens${own.truncated ? ", cut" : ""}`, `score ${figures(own.score, 6)}`, `id ${own.id}`];
  box.querySelector(".facts").textContent = facts.join(" · ");
  box.addEventListener("toggle", () => box.open && !box.dataset.whole && open(box, own));
  return box;
}

async function open(box, own) {
  box.dataset.whole = "true";
  const place = box.querySelector(".parts");
  try {
    const whole = await ask(`/api/row?${new URLSearchParams({ id: own.id })}`);
    const raw = make("details", {}, make("summary", {}, "As JSON"), make("pre", { dir: "auto" }, whole.row));
    place.replaceChildren(...whole.parts.map(part), raw);
  } catch (error) {
    delete box.dataset.whole;
    place.replaceChildren(make("p", { className: "error" }, error.message));
  }
}

const part = (own) =>
  make("div", { className: `part ${own.role}` }, make("span", { className: "role" }, own.role), make("div", { className: "text", dir: "auto" }, own.text));

// ---- the form -------------------------------------------------------------------------------------------------

function slide() {
  const share = SHARES[Number($("slider").value)];
  $("top").value = `${share}%`;
  $("slider").setAttribute("aria-valuetext", `${share} per cent`);
}

function placeSlider() {
  const text = $("top").value.trim(), rows = Number(document.body.dataset.rows);
  const share = text.endsWith("%") ? parseFloat(text) : (100 * Number(text)) / rows;
  if (!(share > 0)) return;
  const near = SHARES.reduce((best, own, at) => (Math.abs(Math.log(own / share)) < Math.abs(Math.log(SHARES[best] / share)) ? at : best), 0);
  $("slider").value = near;
  $("slider").setAttribute("aria-valuetext", text);
}

function explainMethod() {
  $("method-hint").textContent = $("method").selectedOptions[0]?.dataset.score ?? "";
}

let waiting;
const soon = () => {
  clearTimeout(waiting);
  waiting = setTimeout(choose, 200);
};

async function readFile() {
  const file = $("file").files[0];
  if (!file) return;
  clearErrors("text");
  if (!/\.(jsonl|ndjson|json|txt|md)$/i.test(file.name)) {
    complain(`${file.name}: this page reads JSON and plain text; others are read by 'nait-index capability add'`, "text");
  } else if (file.size > Number(document.body.dataset.maxBytes)) {
    complain(`${file.name}: larger than this page takes; store its examples with 'nait-index capability add'`, "text");
  } else {
    $("text").value = await file.text();
    if (editable && !$("name").value) $("name").value = file.name.replace(/\.[a-z]+$/i, "");
    await find();
  }
  $("file").value = "";
}

async function watchModel() {
  try {
    const { model, error } = await ask("/api/status");
    $("model").textContent =
      model === "loading" ? "Loading the model; examples wait for it." : model === "failed" ? `The model cannot be loaded: ${error}` : "";
    if (model === "loading") setTimeout(watchModel, 1000);
  } catch (error) {
    complain(error.message);
  }
}

function begin() {
  // The key is kept in a cookie now; it need not stand in the address.
  history.replaceState(null, "", "/");
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (document.activeElement === $("top") || document.activeElement === $("where")) soon();
    else if (state.encoding) state.encoding.abort();
    else if (source() === "pasted") find();
  });
  for (const box of document.querySelectorAll("input[name=source]")) {
    box.addEventListener("change", () => { show(source()); choose(); });
  }
  $("slider").addEventListener("input", () => { slide(); soon(); });
  $("top").addEventListener("change", () => { placeSlider(); soon(); });
  $("method").addEventListener("change", () => { explainMethod(); choose(); });
  $("where").addEventListener("change", soon);
  $("file").addEventListener("change", readFile);
  $("text").addEventListener("input", updateKeep);
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !state.encoding) find();
  });
  if (editable) {
    $("name").addEventListener("input", updateKeep);
    $("name").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      if (!$("keep-button").disabled) keep();
    });
    $("keep-button").addEventListener("click", keep);
  }
  $("earlier").addEventListener("click", () => turn(Math.max(0, state.first - PAGE)));
  $("later").addEventListener("click", () => turn(state.first + PAGE));
  window.addEventListener("resize", () => { if (state.found && !$("found").hidden) draw(state.found); });
  show(source());
  placeSlider();
  explainMethod();
  watchModel();
  listCapabilities().catch((error) => complain(error.message));
}

begin();
