// The page: input goes to the server, and answers are shown as text, never as HTML.

const $ = (id) => document.getElementById(id);
const PAGE = 20;
const SHARES = [0.1, 0.2, 0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 12, 15, 20, 25, 30, 40, 50, 65, 80, 100];
const editable = document.body.dataset.editable === "true";

const state = { pasted: null, pastedText: "", first: 0, choice: null, encoding: null, asking: null, paging: null };
const marks = { like: new Set(), unlike: new Set() }; // ids of the rows with a thumb up, and with a thumb down

// ---- talking to the server ------------------------------------------------------------------------------------

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server no longer answers; start nait-index explore again");
  }
  const isJson = (answer.headers.get("Content-Type") ?? "").startsWith("application/json");
  const value = isJson ? await answer.json() : { error: (await answer.text()).trim() };
  if (!answer.ok) throw new Error(value.error || `the server answered ${answer.status}`);
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
  if (!refusal()) for (const [mark, ids] of Object.entries(marks)) for (const id of ids) query.append(mark, id);
  return query;
}

const refusal = () => $("method").selectedOptions[0]?.dataset.refusal ?? ""; // why the method takes no thumbs
const source = () => document.querySelector("input[name=source]:checked").value;
const picked = () => [...document.querySelectorAll("#capabilities input:checked")].map((box) => box.value);

// ---- status and errors ----------------------------------------------------------------------------------------

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
    complain("this is more text than the page accepts; store so many examples with 'nait-index capability add'", "text");
    return;
  }
  state.asking?.abort();
  const asking = (state.encoding = new AbortController());
  $("find").textContent = "Stop";
  say("Reading and encoding the examples…", true);
  bringResults();
  const watching = setInterval(() => sayHowFar(asking.signal), 700);
  try {
    const encoded = await send("/api/examples", { text }, { signal: asking.signal });
    state.pasted = encoded.pasted;
    state.pastedText = text;
    state.note = describe(encoded);
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
    // The request for the examples reports what is wrong.
  }
}

// On a narrow screen the results lie below the form.
function bringResults() {
  if (matchMedia("(max-width: 900px)").matches) $("results").scrollIntoView({ block: "start" });
}

function describe(encoded) {
  const parts = [examples(encoded.examples)];
  if (encoded.truncated) parts.push(`${count(encoded.truncated)} cut to the maximum length`);
  if (encoded.questions) parts.push(`${count(encoded.questions)} without an answer`);
  if (encoded.rejected) {
    const more = encoded.rejected > encoded.reasons.length ? "; …" : "";
    parts.push(`${count(encoded.rejected)} could not be used (${encoded.reasons.join("; ")}${more})`);
  }
  return [parts.join(", "), ...encoded.warnings].join("; ");
}

function examples(number) {
  return `${count(number)} ${number === 1 ? "example" : "examples"}`;
}

async function listCapabilities(check = []) {
  const checked = new Set([...picked(), ...check]);
  const capabilities = await ask("/api/capabilities");
  $("capabilities").replaceChildren(
    ...capabilities.map((capability) => {
      const box = make("input", { type: "checkbox", value: capability.name, checked: checked.has(capability.name) });
      box.addEventListener("change", () => choose());
      const label = make("label", {}, box, make("b", {}, capability.name), make("small", {}, examples(capability.examples)));
      return make("li", {}, label);
    }),
  );
  $("none-stored").hidden = capabilities.length > 0;
}

async function keep() {
  clearErrors("name");
  const button = $("keep-button");
  button.disabled = true;
  try {
    const name = $("name").value;
    const stored = await send("/api/keep", { pasted: state.pasted, name, replace: $("replace").checked });
    $("version").textContent = stored.version;
    $("replace").checked = false;
    for (const box of document.querySelectorAll("#capabilities input")) box.checked = false;
    await listCapabilities([stored.name]);
    show("stored");
    state.kept = `Stored as '${stored.name}', ${examples(stored.examples)}; the index is at version ${stored.version}`;
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
  if (state.encoding && source() === "pasted") return; // find() chooses when it is done
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
    const choice = await ask(`/api/choice?${query}`, { signal: asking.signal });
    const rows = await ask(`/api/rows?${query}&first=0&count=${PAGE}`, { signal: asking.signal });
    state.choice = choice;
    keepFocus(() => {
      draw(choice);
      drawRows(rows, 0);
    });
    state.query = query;
    setDownloads(query);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    say([source() === "pasted" ? state.note : state.kept, `scored in ${seconds} s`].filter(Boolean).join(" · "));
    state.kept = "";
  } catch (error) {
    if (error.name === "AbortError") return;
    complain(error.message);
    if (!$("found").hidden) say("The results below are from the previous choice.");
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

// ---- thumbs ---------------------------------------------------------------------------------------------------

function mark(button) {
  const { mark, id } = button.dataset;
  if (!marks[mark].delete(id)) {
    marks.like.delete(id);
    marks.unlike.delete(id);
    marks[mark].add(id);
  }
  showMarks();
  choose();
}

function clearMarks() {
  marks.like.clear();
  marks.unlike.clear();
  showMarks();
  $("results").focus({ preventScroll: true });
  choose();
}

function showMarks() {
  const why = refusal();
  for (const button of document.querySelectorAll(".thumb")) {
    button.setAttribute("aria-pressed", String(marks[button.dataset.mark].has(button.dataset.id)));
    button.disabled = Boolean(why);
    button.title = why || (button.dataset.mark === "like" ? "More rows like this" : "Fewer rows like this");
  }
  const liked = marks.like.size, disliked = marks.unlike.size;
  const counts = [liked && `${count(liked)} liked`, disliked && `${count(disliked)} disliked`].filter(Boolean).join(", ");
  $("refined").hidden = !counts;
  $("refined").firstElementChild.textContent = `${why ? "not refined" : "refined"} by ${counts} ${liked + disliked === 1 ? "row" : "rows"}`;
}

// A thumb that was pressed is drawn anew, perhaps elsewhere or on another page; the keyboard goes on from there.
function keepFocus(redraw) {
  const pressed = document.activeElement?.closest(".thumb");
  const area = pressed?.closest("#rows, #skills"), preventScroll = !pressed?.matches(":focus-visible");
  redraw();
  if (!pressed) return;
  const isSame = ({ dataset }) => dataset.id === pressed.dataset.id && dataset.mark === pressed.dataset.mark;
  const next = [...area.querySelectorAll(".thumb")].find(isSame) ?? ($("refined").hidden ? $("results") : $("clear"));
  next.focus({ preventScroll });
}

// ---- drawing --------------------------------------------------------------------------------------------------

const count = (number) => number.toLocaleString("en");
const figures = (number, digits = 3) => number.toLocaleString("en", { maximumSignificantDigits: digits, minimumSignificantDigits: Number.isInteger(number) ? 1 : digits }).replace("-", "−");

const named = (number, decimals) => number.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).replace("-", "−");

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

function draw(choice) {
  $("empty").hidden = true;
  $("found").hidden = false;
  const share = ((100 * choice.rows) / choice.available).toPrecision(3).replace(/\.?0+$/, "");
  const among = choice.available === Number(document.body.dataset.rows) ? "" : " that pass the filter";
  $("headline").textContent = `${count(choice.rows)} of ${count(choice.available)} rows${among} are chosen (${share}%)`;
  $("reasons").replaceChildren(...choice.reasons.map((reason) => make("li", {}, reason)));
  $("skills").replaceChildren(...choice.skills.map((facts, number) => skill(facts, number, choice)));
  $("balance").replaceChildren(...choice.balance.map(balance));
  showMarks();
}

function skill(facts, number, choice) {
  const box = make("section", { className: "skill" });
  box.style.setProperty("--skill", `var(--skill-${number % 6})`);
  const cut = facts.cut < facts.depth ? `the ${count(facts.cut)} best rows; the last scores ${figures(facts.score)}` : "every row is chosen";
  box.append(
    make("h3", {}, choice.skills.length > 1 || facts.name !== "examples" ? facts.name : "Scores of the rows, best first"),
    make("p", { className: "said" }, `By ${$("method").value}: ${cut}.`),
    curve(facts),
    make("div", { className: "two" },
      border("Just in", "the last that are chosen", facts.last, choice.skills.length === 1),
      border("Just out", "the first that are not", facts.next, choice.skills.length === 1),
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
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function curve(facts) {
  const width = Math.max(280, $("skills").clientWidth - 36 || 800), height = 240;
  const left = 52, right = 14, top = 16, bottom = 26;
  const scores = facts.curve.map(([, score]) => score);
  const high = Math.max(...scores), low = Math.min(...scores), span = high - low || 1;
  const x = (rank) => left + ((rank - 1) / Math.max(facts.depth - 1, 1)) * (width - left - right);
  const y = (score) => top + ((high - score) / span) * (height - top - bottom);
  const line = (points) => points.map(([rank, score], index) => `${index ? "L" : "M"}${x(rank).toFixed(1)} ${y(score).toFixed(1)}`).join("");
  const best = facts.curve.filter(([rank]) => rank <= facts.cut), rest = facts.curve.filter(([rank]) => rank >= facts.cut);
  const label = `Scores of ${count(facts.depth)} rows by rank, from ${figures(high)} to ${figures(low)}; the cut is at rank ${count(facts.cut)}, score ${figures(facts.score)}`;
  const figure = svg("svg", { class: "curve", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
  const levels = ticks(low, high), decimals = Math.max(0, -Math.floor(Math.log10(levels[1] - levels[0] || 1)));
  for (const score of levels) {
    figure.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(score), y2: y(score) }));
    figure.append(svg("text", { x: left - 8, y: y(score) + 4, "text-anchor": "end" }, named(score, decimals)));
  }
  for (const rank of ticks(1, facts.depth)) {
    if (x(rank) > left + 50) figure.append(svg("text", { x: x(rank), y: height - 6, "text-anchor": "middle" }, count(Math.round(rank))));
  }
  figure.append(svg("text", { x: left, y: height - 6 }, "rank"));
  const cut = x(facts.cut), after = cut < width - 130;
  figure.append(
    svg("path", { class: "area", d: `${line(best)}L${cut.toFixed(1)} ${height - bottom}L${left} ${height - bottom}Z` }),
    svg("path", { class: "rest", d: line(rest) }),
    svg("path", { class: "best", d: line(best) }),
    svg("line", { class: "cut", x1: cut, x2: cut, y1: top - 6, y2: height - bottom }),
    svg("text", { class: "cut-name", x: after ? cut + 6 : cut - 6, y: top + 4, "text-anchor": after ? "start" : "end" }, `cut at ${count(facts.cut)}`),
  );
  return figure;
}

function ticks(low, high) {
  const raw = (high - low) / 4;
  if (!(raw > 0)) return [low];
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * unit).find((step) => step >= raw);
  const levels = [];
  for (let level = Math.ceil(low / step) * step; level <= high + step * 1e-9; level += step) levels.push(Math.abs(level) < step * 1e-9 ? 0 : level);
  return levels;
}

function balance(field) {
  const box = make("div", {}, make("h4", {}, `By ${field.by}`));
  const list = make("div", { className: "groups" });
  for (const group of field.groups) {
    const bar = make("i", { className: !group.certain ? "unsure" : group.ratio < 1 ? "less" : "" });
    // The scale is logarithmic: eight times the share fills the right half.
    const reach = Math.min(1, Math.abs(Math.log2(Math.max(group.ratio, 1e-9))) / 3) * 50;
    bar.style.width = `${Math.max(reach, 0.6)}%`;
    bar.style.left = group.ratio < 1 ? `${50 - reach}%` : "50%";
    const description = `${group.name}: ${count(group.chosen)} of the chosen, ${count(group.corpus)} of all; 95 % between ${figures(group.low)} and ${figures(group.high)} times`;
    list.append(
      make("span", { className: "name", title: description }, group.name),
      make("span", { className: "bar", title: description, "aria-hidden": "true" }, bar),
      make("span", { className: "ratio", title: description }, group.chosen ? `× ${group.ratio < 0.095 ? group.ratio.toFixed(2) : group.ratio.toFixed(1)}` : "none", " ", make("small", {}, `${count(group.chosen)} of ${count(group.corpus)}`)),
    );
  }
  box.append(list);
  const notes = [];
  if (field.left_out) notes.push(`${count(field.left_out)} more ${field.left_out === 1 ? "group is" : "groups are"} not shown`);
  if (field.groups.some((group) => !group.certain)) notes.push("grey: may be chance");
  if (!field.whole) notes.push(`counted on ${count(field.corpus_read)} rows drawn at random`);
  if (notes.length) box.append(make("p", { className: "hint" }, `${notes.join("; ")}.`));
  return box;
}

function drawRows(rows, first) {
  state.first = first;
  $("rows").replaceChildren(...rows.map(row));
  showMarks();
  const last = first + rows.length, all = state.choice.rows;
  $("where-in-pages").textContent = rows.length ? `${count(first + 1)} to ${count(last)} of ${count(all)}` : "";
  $("earlier").disabled = first === 0;
  $("later").disabled = last >= all;
}

function row(shown) {
  const rated = $("row-template").content.cloneNode(true).firstElementChild;
  const box = rated.querySelector(".row");
  const [rank, preview, aside] = box.querySelector("summary").children;
  rank.textContent = count(shown.rank);
  preview.textContent = shown.parts.map((part) => part.text).join("  ›  ");
  const from = [shown.capability, shown.source].filter(Boolean).join(" · ");
  aside.append(make("span", { className: "source" }, `${from} · `), figures(shown.score, 4));
  const facts = [shown.source, `${count(shown.tokens)} tokens${shown.truncated ? ", cut" : ""}`, `score ${figures(shown.score, 6)}`, `id ${shown.id}`];
  box.querySelector(".facts").textContent = facts.join(" · ");
  box.addEventListener("toggle", () => box.open && !box.dataset.whole && open(box, shown));
  for (const thumb of rated.querySelectorAll(".thumb")) {
    thumb.dataset.id = shown.id;
    thumb.setAttribute("aria-label", `${thumb.dataset.mark === "like" ? "Like" : "Dislike"} row ${shown.id}`);
    thumb.addEventListener("click", () => mark(thumb));
  }
  return rated;
}

async function open(box, shown) {
  box.dataset.whole = "true";
  const place = box.querySelector(".parts");
  try {
    const whole = await ask(`/api/row?${new URLSearchParams({ id: shown.id })}`);
    const raw = make("details", {}, make("summary", {}, "As JSON"), make("pre", { dir: "auto" }, whole.row));
    place.replaceChildren(...whole.parts.map(part), ...asRead(whole.read), raw);
  } catch (error) {
    delete box.dataset.whole;
    place.replaceChildren(make("p", { className: "error" }, error.message));
  }
}

function asRead(read) {
  if (read.problem) return [make("p", { className: "facts" }, `What the model read cannot be shown: ${read.problem}`)];
  const left = [];
  if (read.cut) left.push(`cut by the maximum length: the model did not read the last ${count(read.cut)} characters, from “${read.rest.slice(0, 60)}”`);
  if (read.left_out.length) left.push(`left out by the template: ${read.left_out.join(", ")}`);
  const text = make("details", {}, make("summary", {}, "As the model read it"), make("pre", { dir: "auto" }, read.text));
  return [...left.map((sentence) => make("p", { className: "facts" }, sentence)), text];
}

const part = ({ role, text }) =>
  make("div", { className: `part ${role}` }, make("span", { className: "role" }, role), make("div", { className: "text", dir: "auto" }, text));

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
  const near = SHARES.reduce((best, step, index) => (Math.abs(Math.log(step / share)) < Math.abs(Math.log(SHARES[best] / share)) ? index : best), 0);
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
    complain(`${file.name}: this page reads JSON and plain text; use 'nait-index capability add' for other files`, "text");
  } else if (file.size > Number(document.body.dataset.maxBytes)) {
    complain(`${file.name}: too large for this page; store its examples with 'nait-index capability add'`, "text");
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
      model === "loading" ? "Loading the model; examples are encoded once it is ready." : model === "failed" ? `The model cannot be loaded: ${error}` : "";
    if (model === "loading") setTimeout(watchModel, 1000);
  } catch (error) {
    complain(error.message);
  }
}

function begin() {
  // The key is in a cookie now, so it is removed from the address.
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
  $("method").addEventListener("change", () => { explainMethod(); showMarks(); choose(); });
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
  $("clear").addEventListener("click", clearMarks);
  $("earlier").addEventListener("click", () => turn(Math.max(0, state.first - PAGE)));
  $("later").addEventListener("click", () => turn(state.first + PAGE));
  window.addEventListener("resize", () => { if (state.choice && !$("found").hidden) draw(state.choice); });
  show(source());
  placeSlider();
  explainMethod();
  watchModel();
  listCapabilities().catch((error) => complain(error.message));
}

begin();
