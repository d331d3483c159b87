"use strict";
// The search page: state lives in the URL, the newest question wins, text is never read as HTML.
const DEBOUNCE = 70; // ms after the last key
const K = 10;
const MOST_FACETS = 6;
const LAST_PAGE = 900; // offsets go to 9,000
const VALUES_SHOWN = 8;
const REFRESH = 1500; // ms after a search
const $ = (id) => document.getElementById(id);
const state = {
  index: "", q: "", mode: "hybrid", filters: [], like: "", compare: false, pair: null, rerank: false, page: 0,
};
let indexes = [];
let reranker = null; // the service's cross-encoder
let typing = false; // the last word is only begun
let described = null;
let asking = null; // of the question under way
let timer = 0;
let later = 0; // of the strip at the foot

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, body, signal) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  const key = sessionStorage.getItem("key");
  if (key) headers.Authorization = `Bearer ${key}`;
  let answer;
  try {
    answer = await fetch(path, {
      method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "The service does not answer. Is it running?");
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  const message = content.error ? content.error.message : `status ${answer.status}`;
  throw new Failure(answer.status, message);
}

const root = () => `v1/indexes/${encodeURIComponent(state.index)}`;

function say(message, bad = false) {
  $("status").textContent = message;
  $("status").classList.toggle("bad", bad);
}

function fail(error) {
  if (error.name === "AbortError") return;
  $("results").removeAttribute("aria-busy");
  if (error.status === 401) {
    say("An API key is needed.", true);
    $("key").showModal();
  } else if (error.status === 429) say("Too many questions at once; try again in a moment.", true);
  else say(error.message, true);
  if (error.status !== 429) $("results").replaceChildren();
}

// The URL

function readUrl() {
  const given = new URLSearchParams(location.search);
  state.index = given.get("index") || "";
  state.q = given.get("q") || "";
  state.mode = ["dense", "hybrid", "lexical"].includes(given.get("mode")) ? given.get("mode") : "hybrid";
  state.like = given.get("like") || "";
  state.compare = given.get("compare") === "1";
  state.rerank = given.get("rerank") === "1";
  state.page = Math.min(LAST_PAGE, Math.max(0, (parseInt(given.get("page"), 10) || 1) - 1));
  state.pair = given.get("pair") ? given.get("pair").split("~") : null;
  try {
    const filters = JSON.parse(given.get("filters") || "[]");
    state.filters = Array.isArray(filters) ? filters.filter((each) => each && each.field) : [];
  } catch {
    state.filters = [];
  }
}

function writeUrl(push) {
  const said = new URLSearchParams();
  if (indexes.length > 1) said.set("index", state.index);
  if (state.q) said.set("q", state.q);
  if (state.mode !== "hybrid") said.set("mode", state.mode);
  if (state.filters.length) said.set("filters", JSON.stringify(state.filters));
  if (state.like) said.set("like", state.like);
  if (state.rerank) said.set("rerank", "1");
  if (state.page) said.set("page", String(state.page + 1));
  if (state.compare) said.set("compare", "1");
  if (state.compare && state.pair) said.set("pair", state.pair.join("~"));
  const url = `${location.pathname}${said.size ? "?" + said : ""}`;
  if (url === location.pathname + location.search) return;
  if (push) history.pushState(null, "", url);
  else history.replaceState(null, "", url);
}

function show() {
  if (indexes.length) $("index").value = state.index;
  if ($("query").value !== state.q) $("query").value = state.q;
  document.querySelector(`#modes [value=${state.mode}]`).checked = true;
  $("compare").checked = state.compare;
  $("rerank").checked = state.rerank;
  $("reranking").hidden = !reranker;
  $("reranking").title = reranker ? `Let ${reranker} read the best passages with the query` : "";
  document.title = state.q ? `${state.q} – trimseek` : "trimseek";
}

// Questions

function filterJson() {
  const conditions = state.filters.map(({ field, value }) => ({ field, op: "=", value }));
  return conditions.length > 1 ? { and: conditions } : conditions[0] || null;
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(() => search(false, true), DEBOUNCE);
}

// A question of its own begins at its first page.
function anew() {
  state.page = 0;
  return search(true);
}

async function search(push = false, begun = false) {
  clearTimeout(timer);
  typing = begun;
  if (asking) asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  show();
  chips();
  writeUrl(push);
  $("meant").hidden = true;
  if (!state.q.trim() && !state.like) {
    say("");
    $("facets").hidden = true;
    $("pages").hidden = true;
    return welcome();
  }
  $("results").setAttribute("aria-busy", "true");
  const began = performance.now();
  try {
    if (state.like) await alike(signal, began);
    else if (state.compare) await sides(signal);
    else await hits(signal, began);
  } catch (error) {
    if (!signal.aborted) fail(error);
  } finally {
    if (!signal.aborted) $("results").removeAttribute("aria-busy");
    clearTimeout(later);
    later = setTimeout(() => describe().catch(() => {}), REFRESH);
  }
}

// The facets that were made, or the first metadata fields of other indexes.
function countedFields() {
  if (!described) return [];
  const fields = described.facets.length ? described.facets : Object.keys(described.fields);
  return fields.slice(0, MOST_FACETS);
}

async function hits(signal, began) {
  const reranked = state.rerank && reranker !== null;
  const answer = await ask(`${root()}/search`, {
    query: state.q, k: K + 1, offset: state.page * K, mode: state.mode, filter: filterJson(),
    facets: countedFields(), highlight: true, suggest: true, prefix: typing, rerank: reranked,
  }, signal);
  if (signal.aborted) return;
  const shown = answer.hits.slice(0, K); // one more tells whether there is another page
  const { encode, search: searched, rerank, total } = answer.timing_ms;
  const whole = performance.now() - began;
  say(`${shown.length ? counted(shown.length, "hit") : "Nothing found"} in ${total.toFixed(1)} ms ` +
    `(encode ${encode.toFixed(1)}, search ${searched.toFixed(1)}${reranked ? `, rerank ${rerank.toFixed(1)}` : ""}; ` +
    `${whole.toFixed(0)} ms to here)` +
    (answer.truncated ? ". The query was too long; its end was left out." : "") +
    warned(answer));
  $("meant").hidden = !answer.suggestion;
  $("suggestion").textContent = answer.suggestion || "";
  facets(answer.facets);
  list(shown);
  paged(answer.hits.length > K);
}

function warned(answer) {
  return answer.warnings.map((warning) => `. Note: ${warning}`).join("");
}

function paged(more) {
  $("pages").hidden = !more && !state.page;
  $("page").textContent = `Page ${state.page + 1}`;
  $("previous").disabled = !state.page;
  $("next").disabled = !more || state.page >= LAST_PAGE;
}

function turn(by) {
  state.page += by;
  search(true).then(() => $("results").focus());
  scrollTo({ top: 0 });
}

async function alike(signal, began) {
  const answer = await ask(`${root()}/recommend`, {
    like: [state.like], k: K + 1, offset: state.page * K, filter: filterJson(),
  }, signal);
  if (signal.aborted) return;
  const shown = answer.hits.slice(0, K);
  $("facets").hidden = true;
  say(`${counted(shown.length, "document")} like “${state.like}” in ${(performance.now() - began).toFixed(0)} ms` +
    warned(answer));
  list(shown);
  paged(answer.hits.length > K);
}

const counted = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

// What is shown

function welcome() {
  $("results").removeAttribute("aria-busy");
  const index = described;
  const text = index
    ? index.documents ? `${index.documents.toLocaleString()} documents are waiting. Ask as you would ask a colleague.`
      : "This index is empty. Put documents into it: see the API."
    : "There is no index here yet.";
  $("results").replaceChildren(make("p", { class: "hint" }, text));
}

function marked(hit) {
  const { text } = hit.passage;
  const parts = [];
  let at = 0;
  for (const { start, end } of inUnits(text, hit.highlights)) {
    if (start < at) continue;
    parts.push(text.slice(at, start), make("mark", {}, text.slice(start, end)));
    at = end;
  }
  parts.push(text.slice(at));
  return parts;
}

// Offsets count characters; JavaScript's strings count UTF-16 units.
function inUnits(text, highlights) {
  if (!highlights.length || !/[\ud800-\udbff]/.test(text)) return highlights;
  const units = [0];
  for (const character of text) units.push(units[units.length - 1] + character.length);
  return highlights.map(({ start, end }) => ({ start: units[start], end: units[end] }));
}

function scored(hit) {
  const from = Object.entries(hit.sources).filter(() => state.mode === "hybrid")
    .filter(([name, source]) => source.rank !== null && name !== "rerank")
    .map(([name, source]) => `${name === "dense" ? "meaning" : "words"} #${source.rank}`);
  return [hit.score.toFixed(state.mode === "hybrid" ? 4 : 3), ...from].join(" · ");
}

function tags(hit) {
  const made = [make("button", { type: "button", class: "act", onclick: () => like(hit.id) }, "More like this")];
  for (const [field, value] of Object.entries(hit.metadata)) {
    if (address(value)) made.push(link(value));
    else if (typeof value === "object" || String(value).length > 60) continue;
    else made.push(make("button", {
      type: "button", title: `Only ${field} = ${value}`, onclick: () => toggle(field, value),
    }, `${field}: ${value}`));
    if (made.length > 7) break;
  }
  return made;
}

// The address that a value of metadata is; null for anything else.
function address(value) {
  if (typeof value !== "string" || !/^https?:\/\/\S+$/i.test(value)) return null;
  try {
    return new URL(value).href;
  } catch {
    return null;
  }
}

function link(value) {
  return make("a", { href: address(value), target: "_blank", rel: "noopener noreferrer" }, value);
}

function list(found) {
  if (!found.length) {
    const clear = state.filters.length
      ? make("button", { type: "button", onclick: clearFilters }, "Take the filters away") : null;
    $("results").replaceChildren(make("div", { class: "hint" },
      make("p", {}, state.mode === "lexical" ? "No document has these words. “Meaning” finds more." : "Nothing matches."), clear));
    return;
  }
  $("results").replaceChildren(make("ol", {}, ...found.map((hit) => make("li", {},
    make("article", { class: "hit", tabindex: "0", "data-id": hit.id, "aria-label": hit.title || hit.id },
      make("div", { class: "top" }, make("h3", {}, hit.title || hit.id), make("span", { class: "score" }, scored(hit))),
      make("p", { class: "passage" }, ...marked(hit)),
      make("div", { class: "tags" }, ...tags(hit)))))));
}

function facets(found) {
  const sections = Object.entries(found).filter(([, values]) => values.length > 1 || state.filters.length)
    .filter(([, values]) => values.length)
    // values that hardly come twice are no groups
    .filter(([field, values]) => described.facets.includes(field) || values.length <= VALUES_SHOWN ||
      values.some(({ documents }) => documents > 1))
    .map(([field, values]) => make("section", {}, make("h2", {}, field),
      ...values.slice(0, VALUES_SHOWN).map(({ value, documents }) => make("button", {
        type: "button", "aria-pressed": String(isOn(field, value)), onclick: () => toggle(field, value),
      }, make("span", {}, String(value)), make("span", { class: "count" }, String(documents))))));
  $("facets").replaceChildren(...sections);
  $("facets").hidden = !sections.length;
}

function chips() {
  $("chips").hidden = !state.filters.length && !state.like;
  const made = state.filters.map(({ field, value }) => make("button", {
    type: "button", class: "chip", "aria-label": `Take away the filter ${field} = ${value}`,
    onclick: () => toggle(field, value),
  }, `${field} = ${value} ✕`));
  if (state.like) made.unshift(make("button", {
    type: "button", class: "chip", "aria-label": "Back to the search",
    onclick: () => { state.like = ""; anew(); },
  }, `like ${state.like} ✕`));
  $("chips").replaceChildren(...made);
}

const isOn = (field, value) => state.filters.some((each) => each.field === field && each.value === value);

function toggle(field, value) {
  state.filters = isOn(field, value)
    ? state.filters.filter((each) => each.field !== field || each.value !== value)
    : [...state.filters, { field, value }];
  anew();
}

function clearFilters() {
  state.filters = [];
  anew();
}

function like(id) {
  state.like = id;
  anew();
}

// Full against compressed

async function sides(signal) {
  const body = { query: state.q, k: K };
  if (state.pair) body.encoders = state.pair;
  const { results, shared } = await ask(`${root()}/compare`, body, signal);
  if (signal.aborted) return;
  $("facets").hidden = true;
  $("pages").hidden = true;
  const [full, small] = results;
  const faster = full.timing_ms.encode / small.timing_ms.encode;
  say(`${shared} of ${K} the same; ${small.encoder} encodes ${faster.toFixed(1)} times as fast as ${full.encoder}`);
  const places = results.map(({ hits: own }) => new Map(own.map((hit, i) => [hit.id, i])));
  $("results").replaceChildren(make("div", { class: "sides" },
    side(full, 0, null), links(places), side(small, 1, places[0])));
}

function side(result, which, before) {
  const choice = make("select", {
    "aria-label": which ? "The compressed encoder" : "The full encoder",
    onchange: (event) => {
      const names = [...document.querySelectorAll(".sides select")].map((each) => each.value);
      names[which] = event.target.value;
      state.pair = names;
      search(true);
    },
  }, ...(described ? described.encoders : [result.encoder]).map((name) =>
    make("option", { value: name, selected: name === result.encoder }, name)));
  if (choice.value !== result.encoder) {
    choice.append(make("option", { value: result.encoder, selected: true }, result.encoder));
  }
  return make("section", { "aria-label": result.encoder },
    make("h2", {}, choice, make("span", { class: "ms" },
      `${result.timing_ms.encode.toFixed(2)} ms`), " + ", `${result.timing_ms.search.toFixed(2)} ms search`),
    make("ol", { class: "rows" }, ...result.hits.map((hit, i) => make("li", { class: "row" },
      make("b", {}, String(i + 1)), make("span", {}, hit.title || hit.passage.text || hit.id),
      before ? moved(before.get(hit.id), i) : null))));
}

function moved(from, to) {
  if (from === undefined) return make("i", { class: "new" }, "new");
  if (from === to) return make("i", {}, "=");
  const up = from > to;
  return make("i", { class: up ? "up" : "down", "aria-label": `${up ? "up" : "down"} ${Math.abs(from - to)}` },
    `${up ? "▲" : "▼"}${Math.abs(from - to)}`);
}

function links([left, right]) {
  const step = 60.8; // px of a row and the gap under it
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "links");
  svg.setAttribute("viewBox", `0 0 80 ${step * K}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("height", String(step * K));
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "Where each document of the left list stands in the right one");
  for (const [id, from] of left) {
    const to = right.get(id);
    if (to === undefined) continue;
    const [a, b] = [(from + 0.45) * step, (to + 0.45) * step];
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", `M2 ${a}C40 ${a} 40 ${b} 78 ${b}`);
    path.setAttribute("class", from === to ? "" : from > to ? "up" : "down");
    svg.append(path);
  }
  return svg;
}

// A document, the index, keys

async function open(id) {
  try {
    const found = await ask(`${root()}/documents/${encodeURIComponent(id)}`);
    $("document-title").textContent = found.title || found.id;
    $("document-text").textContent = found.text;
    $("document-metadata").replaceChildren(...Object.entries({ id: found.id, ...found.metadata }).flatMap(
      ([name, value]) => [make("dt", {}, name),
        make("dd", {}, address(value) ? link(value)
          : typeof value === "object" ? JSON.stringify(value) : String(value))]));
    $("document").showModal();
  } catch (error) {
    fail(error);
  }
}

async function describe() {
  if (!state.index) return;
  described = await ask(root());
  const { documents, chunks, bytes, kind, latency_ms: latency, query_encoder: encoder, card, generation } = described;
  const part = (name, value) => make("span", {}, `${name} `, make("b", {}, value));
  const times = (phase) => `${latency[phase].p50.toFixed(1)} / ${latency[phase].p99.toFixed(1)} ms`;
  $("admin").replaceChildren(
    part("documents", documents.toLocaleString()), part("passages", chunks.toLocaleString()),
    part("on disk", `${(bytes / 1e6).toFixed(1)} MB`), part("index", `${kind || "none"}, snapshot ${generation ?? "–"}`),
    part("encoder", `${encoder} (${card.precision || ""}, ${described.dim} dimensions)`),
    ...(latency.total.p50 ? [part("encode p50 / p99", times("encode")), part("search p50 / p99", times("search"))] : []));
}

async function start() {
  try {
    ({ indexes, reranker } = await ask("v1/indexes"));
    const names = indexes.map(({ name }) => name);
    $("index").replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    if (!names.includes(state.index)) state.index = names[0] || "";
    await describe();
    state.q = $("query").value || state.q; // what was typed meanwhile
    await search();
  } catch (error) {
    fail(error);
  }
}

$("query").addEventListener("input", (event) => {
  state.q = event.target.value;
  Object.assign(state, { like: "", page: 0 });
  soon();
});
$("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter") anew();
});
$("modes").addEventListener("change", (event) => {
  state.mode = event.target.value;
  state.compare = false;
  anew();
});
$("rerank").addEventListener("change", (event) => {
  state.rerank = event.target.checked;
  state.compare = false;
  anew();
});
$("suggestion").addEventListener("click", (event) => {
  state.q = event.target.textContent;
  anew();
});
$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));
$("compare").addEventListener("change", (event) => {
  state.compare = event.target.checked;
  state.like = "";
  anew();
});
$("index").addEventListener("change", async (event) => {
  Object.assign(state, { index: event.target.value, filters: [], like: "", pair: null });
  await describe().catch(fail);
  anew();
});
$("results").addEventListener("click", (event) => {
  const hit = event.target.closest(".hit");
  if (hit && !event.target.closest("button, a") && !String(getSelection())) open(hit.dataset.id);
});
$("close").addEventListener("click", () => $("document").close());
$("use-key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", $("secret").value.trim());
  $("key").close();
  start();
});
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
});
addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
  const inQuery = event.target === $("query");
  const shown = [...document.querySelectorAll(".hit")];
  const at = shown.indexOf(document.activeElement);
  if (event.key === "/" && !inQuery && event.target.tagName !== "INPUT") {
    $("query").focus();
    $("query").select();
  } else if (event.key === "Escape") {
    if (at >= 0) $("query").focus();
    else if (inQuery || state.q || state.like) {
      Object.assign(state, { q: "", like: "", filters: [] });
      $("query").focus();
      anew();
    }
  } else if (event.key === "ArrowDown" && (inQuery || at >= 0) && shown.length) {
    shown[Math.min(at + 1, shown.length - 1)].focus();
  } else if (event.key === "ArrowUp" && at >= 0) {
    (at ? shown[at - 1] : $("query")).focus();
  } else if (event.key === "Enter" && at >= 0 && event.target === shown[at]) {
    open(shown[at].dataset.id);
  } else return;
  event.preventDefault();
});
addEventListener("popstate", () => {
  readUrl();
  if (!indexes.some(({ name }) => name === state.index)) state.index = indexes.length ? indexes[0].name : "";
  search();
});
readUrl();
show();
if (localStorage.getItem("theme")) document.documentElement.dataset.theme = localStorage.getItem("theme");
start();
