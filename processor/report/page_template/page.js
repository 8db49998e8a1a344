// The list of queries and the choices. Everything that data name is set as text, never as HTML.
"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const NEVER = 1e9; // sorts what has no rank or no altitude to the end
  const filters = document.getElementById("filters");
  const fields = [...filters.elements].filter((field) => field.name);
  const list = document.getElementById("list");
  const count = document.getElementById("count");
  const opened = new Set(); // keys of the queries that are open
  let chosen = [];

  for (const { rankings } of data.directions) {
    for (const query of Object.values(rankings).flat()) {
      query.tracklet = data.tracklets[query.query];
      query.places = query.places.map(([rank, number, distance]) => ({ rank, distance, other: data.tracklets[number] }));
    }
  }

  // ---- elements and words

  function make(tag, options = {}, ...children) {
    const { text, ...attributes } = options;
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    element.append(...children);
    return element;
  }

  function picture(index, description) {
    if (index === null) return make("span", { class: "picture missing", text: "no picture" });
    return make("img", {
      class: "picture", alt: description, width: data.width, height: data.height, decoding: "async",
      src: `data:image/webp;base64,${data.pictures[index]}`,
    });
  }

  const quiet = (text) => make("div", { class: "quiet", text });
  const titled = (text, element) => make("div", {}, make("h3", { text }), element);
  const camera = (tracklet) => (tracklet.camera < 0 ? "unknown camera" : `camera ${tracklet.camera}`);
  const place = (tracklet) => (tracklet.altitude === null ? tracklet.view : `${tracklet.view}, ${tracklet.altitude} m`);
  const shortened = (number) => number.toLocaleString("en");

  // ---- a query

  function drawQuery(query) {
    const { tracklet } = query;
    const asked = make("div", { class: "asked" }, picture(tracklet.picture, `query ${tracklet.key}`), make("div", {},
      make("strong", { text: `AP ${query.precision.toFixed(3)}` }),
      make("div", { text: query.rank === null ? "no true match" : `first match at rank ${query.rank}` }),
      quiet(`person ${tracklet.person}`), quiet(camera(tracklet)), quiet(place(tracklet))));
    const ranked = make("ol", { class: "ranked" }, ...query.places.map(({ rank, distance, other }) => {
      const isRight = other.person === tracklet.person;
      return make("li", { class: isRight ? "right" : "wrong" },
        picture(other.picture, `person ${other.person}`),
        make("span", { class: "verdict", text: `${rank}. ${isRight ? "✓ right" : "✗ wrong"}` }),
        make("div", { text: camera(other) }),
        make("div", { text: place(other) }),
        quiet(`distance ${distance.toFixed(3)}`));
    }));
    const more = make("details", {}, make("summary", { text: "More", "aria-label": `More of query ${tracklet.key}` }));
    more.addEventListener("toggle", () => {
      if (more.open && more.children.length === 1) more.append(...drawMore(query));
      opened[more.open ? "add" : "delete"](tracklet.key);
      rememberChoices();
    });
    return make("li", { class: "query", "data-key": tracklet.key }, make("div", { class: "row" }, asked, ranked), more);
  }

  function drawMore({ tracklet, places }) {
    const { key, day, numFrames, frames, maps } = tracklet;
    const shown = frames && frames.length < numFrames ? `${frames.length} of ${numFrames}` : numFrames;
    const title = `Query ${key}: ${shown} frames, in time order${day === null ? "" : `, day ${day}`}`;
    const parts = [titled(title, frames
      ? drawPictures(frames.map((index) => [index, "", "a frame of the query"]))
      : quiet("To keep the page small, only the queries with the lowest average precision show more frames."))];
    if (maps) parts.push(...drawMaps(maps));
    const heads = ["Rank", "Tracklet", "Camera", "View", "Day", "Frames", "Distance"];
    parts.push(titled("Nearest gallery tracklets", make("table", { class: "nearest" },
      make("tr", {}, ...heads.map((text) => make("th", { scope: "col", text }))),
      ...places.map(({ rank, distance, other }) => make("tr", {}, ...[
        `${rank}, ${other.person === tracklet.person ? "right" : "wrong"}`, other.key, camera(other), place(other),
        other.day === null ? "day unknown" : `day ${other.day}`, `${other.numFrames} frames`, distance,
      ].map((text) => make("td", { text })))))));
    return parts;
  }

  function drawMaps({ weights, frames, match }) {
    const largest = Math.max(...weights) || 1;
    const bars = weights.map((weight, step) => {
      const bar = make("i");
      bar.style.height = `${(100 * weight) / largest}%`;
      return make("li", {}, make("span", {}, bar), `frame ${step + 1}: ${(100 * weight).toFixed(0)}`);
    });
    const pictures = [...frames.map((index, step) => [index, `frame ${step + 1}`]), [match, "ranked first"]];
    return [
      titled(`Weight of each frame of the clip, % (the ${weights.length} frames of the query that the network saw)`,
        make("ol", { class: "weights" }, ...bars)),
      titled("Where the network looked in the clip, and in the tracklet ranked first",
        drawPictures(pictures.map(([index, words]) => [index, words, `relevance, ${words}`]))),
    ];
  }

  const drawPictures = (pictures) => make("ol", { class: "frames" },
    ...pictures.map(([index, words, description]) => make("li", {}, picture(index, description), words)));

  // ---- the list, and the choices, which the page's address keeps

  const value = (name) => (filters.elements[name] ? filters.elements[name].value.trim() : "");
  const SORTS = {
    ap: (query) => query.precision,
    rank: (query) => query.rank ?? NEVER,
    person: (query) => query.tracklet.person,
    camera: (query) => query.tracklet.camera,
    altitude: (query) => query.tracklet.altitude ?? NEVER,
  };

  function isWanted({ precision, rank, tracklet }) {
    const [low, high] = value("match").split("-").map(Number);
    if (value("match") && ((rank ?? NEVER) < low || (high && (rank ?? NEVER) > high))) return false;
    for (const name of ["camera", "altitude", "person"]) {
      if (value(name) && String(tracklet[name]) !== value(name)) return false;
    }
    return !(value("from") && !(precision >= Number(value("from")))) && !(value("to") && !(precision <= Number(value("to"))));
  }

  function showChoices() {
    for (const table of document.querySelectorAll(".groups table")) {
      table.hidden = table.dataset.direction !== value("direction") || table.dataset.method !== value("method");
    }
    const queries = data.directions[value("direction")].rankings[value("method")];
    const sign = value("order") === "down" ? -1 : 1;
    const sort = SORTS[value("sort")];
    chosen = (queries ?? []).filter(isWanted).sort((one, other) => sign * (sort(one) - sort(other)));
    count.textContent = queries
      ? `${shortened(chosen.length)} of ${shortened(queries.length)} queries`
      : "This method did not rank this direction.";
    list.replaceChildren(...chosen.map((query) => (query.item ??= drawQuery(query))));
    for (const { item, tracklet } of chosen) item.lastChild.open = opened.has(tracklet.key);
  }

  function rememberChoices() {
    const words = new URLSearchParams();
    for (const field of fields) if (field.options ? field.selectedIndex : field.value) words.set(field.name, field.value);
    for (const key of opened) words.append("open", key);
    history.replaceState(null, "", words.toString() ? `#${words}` : location.pathname + location.search);
  }

  function recallChoices() {
    const words = new URLSearchParams(location.hash.slice(1));
    filters.reset();
    for (const field of fields) {
      if (words.has(field.name)) field.value = words.get(field.name);
      if (field.selectedIndex < 0) field.selectedIndex = 0;
    }
    opened.clear();
    for (const key of words.getAll("open")) opened.add(key);
    showChoices();
    chosen.find(({ tracklet }) => opened.has(tracklet.key))?.item.scrollIntoView({ block: "center" });
  }

  function change() {
    showChoices();
    rememberChoices();
  }

  list.addEventListener("keydown", (event) => {
    const next = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const target = next && event.target.closest(".query")[next];
    if (!target || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    target.querySelector("summary").focus({ preventScroll: true });
    target.scrollIntoView({ block: "center" });
  });
  for (const field of fields) field.addEventListener("input", change);
  filters.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("clear").addEventListener("click", () => {
    for (const field of fields) if (filters.contains(field)) field.value = field.options ? field.options[0].value : "";
    opened.clear();
    change();
  });
  addEventListener("hashchange", () => { if (location.hash.includes("=")) recallChoices(); });
  recallChoices();
}
