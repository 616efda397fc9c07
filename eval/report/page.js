// The sample browser. Data is inserted as text nodes, never as markup. Entries are built when they scroll into view.
"use strict";
const { runs, entries, pictures } = JSON.parse(document.getElementById("data").textContent);
const PAGE_SIZE = 10;
const find = (id) => document.getElementById(id);
const list = find("entries"), words = find("words"), task = find("task"), differ = find("differ");
const marks = [...document.querySelectorAll("select.mark")];
const SIGNS = { correct: "✓", wrong: "✗", error: "!" };
const more = find("more");
const below = new IntersectionObserver((seen) => {
  if (seen.at(-1).isIntersecting && drawn < found.length) drawMore();
}, { rootMargin: "1500px" });
let found = [], drawn = 0;

function make(tag, name, ...inside) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...inside.filter((each) => each !== undefined && each !== null && each !== false));
  return element;
}

const color = (run) => `var(--run-${(run % 6) + 1})`;

function chip(run) {
  const element = make("span", "chip", String(run + 1));
  element.style.setProperty("--run", color(run));
  element.title = runs[run];
  return element;
}

const percent = (share) => (share === undefined ? "" : `${Math.round(100 * share)} %`);
const sign = (reply) => make("span", reply.mark === "correct" ? "good" : "bad", `${SIGNS[reply.mark]} ${reply.mark}`);

function options(entry) {
  const chosen = (option) => entry.replies.flatMap((reply, run) => (reply && reply.text === option ? [chip(run)] : []));
  return make("ul", "options", ...entry.options.map((option) =>
    make("li", option === entry.answer ? "correct" : "", make("span", "", option), ...chosen(option))));
}

function picture(strip, tile) {
  const url = pictures[strip.digest]?.[tile.index];
  const element = make(url ? "img" : "span", "picture");
  element.style.aspectRatio = `${strip.width} / ${strip.height}`;
  if (url) Object.assign(element, { src: url, alt: "", decoding: "async" });
  return element;
}

// The texts of a frame: one if all runs agree, otherwise one per run.
function caption(tile) {
  const texts = tile.texts.map((text, run) => ({ text, run })).filter(({ text }) => text);
  const same = texts.every(({ text }) => text === texts[0].text);
  const parts = same ? texts.slice(0, 1).map(({ text }) => make("span", "", text))
    : texts.map(({ text, run }) => make("span", "", chip(run), ` ${text}`));
  return [make("b", "number", `${tile.time.toFixed(2)} s`), ...parts];
}

function film(strip) {
  const line = make("p", "caption soft", strip.tiles.length ? "Hover over or tap a frame to see its caption." : "");
  const tiles = strip.tiles.map((tile) => {
    const classes = `tile${tile.core.length ? " core" : ""}${tile.needed ? " needed" : ""}`;
    const element = make("button", classes, picture(strip, tile),
      make("span", "", make("time", "", `${tile.time.toFixed(1)} s`), ...(runs.length > 1 ? tile.core.map(chip) : [])));
    if (runs.length > 1 && tile.core.length) element.style.setProperty("--run", tile.core.length === 1 ? color(tile.core[0]) : "var(--ink)");
    element.type = "button";
    element.setAttribute("aria-label", `${tile.time.toFixed(2)} s${tile.core.length ? ", core frame" : ""}: ${tile.texts.find(Boolean) ?? ""}`);
    for (const event of ["pointerenter", "focus"]) element.addEventListener(event, () => line.replaceChildren(...caption(tile)));
    return element;
  });
  const more = strip.left_out ? ` · ${strip.left_out} more sampled frames` : "";
  return make("div", "film", make("p", "soft", strip.source.split("/").at(-1) + more), make("div", "tiles", ...tiles), line);
}

function verdict(scores) {
  const items = Object.entries(scores).filter(([, score]) => typeof score === "number").map(([name, score]) => {
    const element = make("li", "", `${name} `, make("b", "", String(score)));
    element.title = scores.reasons?.[name] ?? "";
    return element;
  });
  return make("ul", "verdict", ...items);
}

function named(name, kind, text) {
  const element = make("p", kind, text);
  element.dataset.name = name;
  return element;
}

function reply(entry, one, run) {
  const element = make("section", "reply");
  element.style.setProperty("--run", color(run));
  if (!one) {
    element.append(make("h4", "", chip(run), runs[run]), make("p", "soft", "question not in this run"));
    return element;
  }
  const shown = one.choice ? `as ${one.choice}` : "";
  const confidence = one.confidence === undefined ? "" : `confidence ${percent(one.confidence)}`;
  element.append(
    make("h4", "", chip(run), runs[run], sign(one), make("small", "number", [shown, confidence].filter(Boolean).join(", "))));
  if (one.text) element.append(make("p", "answer", one.text));
  if (one.error) element.append(make("p", "bad", one.error));
  if (one.evidence) element.append(named("evidence", "evidence", one.evidence));
  if (one.verdict) element.append(verdict(one.verdict));
  for (const note of one.notes) element.append(make("p", "note", note));
  return element;
}

function draw(entry) {
  const head = make("header", "", entry.task, make("code", "", entry.id));
  if (runs.length > 1) {
    head.append(make("span", "marks", ...entry.replies.flatMap((one, run) => (one ? [make("span", "", chip(run), " ", sign(one))] : []))));
  }
  const element = make("article", "entry", head, make("h3", "", entry.question));
  element.tabIndex = -1;
  if (entry.options) element.append(options(entry));
  else if (entry.answer) element.append(named("reference", "reference", entry.answer));
  element.append(...entry.strips.map(film), make("div", "replies", ...entry.replies.map((one, run) => reply(entry, one, run))));
  if (entry.evidence) element.append(named("reference evidence", "reference", entry.evidence));
  return element;
}

function text(entry) {
  const replies = entry.replies.flatMap((one) => (one ? [one.text, one.evidence, one.error, ...one.notes] : []));
  const captions = entry.strips.flatMap((strip) => [strip.source, ...strip.tiles.flatMap((tile) => tile.texts)]);
  return [entry.id, entry.task, entry.question, ...(entry.options ?? []), entry.answer, entry.evidence, ...replies, ...captions]
    .filter(Boolean).join("\n").toLowerCase();
}

function matches(entry, query) {
  if (task?.value && entry.task !== task.value) return false;
  if (marks.some((select, run) => select.value && entry.replies[run]?.mark !== select.value)) return false;
  if (differ?.checked && new Set(entry.replies.filter(Boolean).map((one) => one.mark === "correct")).size < 2) return false;
  return query.every((word) => (entry.text ??= text(entry)).includes(word));
}

// Number of matching entries, and the accuracy of each run on them.
function count() {
  const number = (value) => value.toLocaleString("en");
  const shares = found.length ? runs.flatMap((_, run) => {
    const asked = found.filter((entry) => entry.replies[run]);
    return asked.length ? [" · ", chip(run), ` ${percent(asked.filter((entry) => entry.replies[run].mark === "correct").length / asked.length)} correct`] : [];
  }) : [];
  find("count").replaceChildren(`${number(found.length)} of ${number(entries.length)} questions`, ...shares);
}

function drawMore() {
  list.append(...found.slice(drawn, drawn + PAGE_SIZE).map(draw));
  drawn = Math.min(drawn + PAGE_SIZE, found.length);
  more.textContent = found.length ? (drawn < found.length ? "scroll for more" : "end of list") : "No matching questions.";
  below.unobserve(more); // observing again reports whether the end is in view
  below.observe(more);
}

function filter() {
  const query = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  found = entries.filter((entry) => matches(entry, query));
  drawn = 0;
  list.replaceChildren();
  count();
  drawMore();
}

function step(by) {
  const shown = [...list.children];
  const here = shown.indexOf(document.activeElement?.closest(".entry"));
  const next = shown[here < 0 ? 0 : here + by];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "start" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && event.target === words) {
    words.value = "";
    words.blur();
    filter();
  } else if (!event.target.closest("input, select")) {
    const acts = { "/": () => words.focus(), j: () => step(1), k: () => step(-1) };
    if (acts[event.key]) {
      event.preventDefault();
      acts[event.key]();
    }
  }
});
words.addEventListener("input", filter);
for (const element of [task, differ, ...marks]) element?.addEventListener("change", filter);
filter();
