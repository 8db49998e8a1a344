// The list of queries and the breakdown. Everything that data name is set as text, never as HTML.
"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const BATCH = 15; // queries drawn at a time, as the end of the list comes into view
  const NEVER = 1e9; // sorts what has no rank or no altitude to the end
  const FILTERS = ["sort", "order", "match", "camera", "altitude", "person", "from", "to"];

  // Columns of the rows in the data.
  const tracklets = data.tracklets.map(([name, person, camera, view, altitude, day, frames, picture]) =>
    ({ name, person, camera, view, altitude, day, frames, picture }));
  const readQuery = ([number, ap, rank, nearest, distances, late]) => {
    const tracklet = tracklets[number];
    return { number, ap, rank, nearest, distances, late, tracklet, key: `${tracklet.person}/${tracklet.name}` };
  };
  // The nearest gallery tracklets, and the first match if it is not among them.
  function listRanked({ rank, nearest, distances, late }) {
    const ranked = nearest.map((number, index) =>
      ({ other: tracklets[number], shownRank: index + 1, distance: distances[index] }));
    return late ? [...ranked, { other: tracklets[late[0]], shownRank: rank, distance: late[1] }] : ranked;
  }

  const filters = document.getElementById("filters");
  const list = document.getElementById("list");
  const count = document.getElementById("count");
  const choices = { direction: 0, method: 0 };
  const opened = new Set();
  let chosen = [];
  let drawn = 0;

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

  const camera = (tracklet) => (tracklet.camera < 0 ? "unknown camera" : `camera ${tracklet.camera}`);
  const place = (tracklet) =>
    tracklet.altitude === null ? tracklet.view : `${tracklet.view}, ${tracklet.altitude} m`;
  const percent = (share) => (100 * share).toFixed(2);
  const firstMatch = (rank) => (rank === null ? "no true match" : `first match at rank ${rank}`);

  // ---- the queries

  const known = new Map(); // queries by direction and method, read when they are first asked for

  function queriesNow() {
    const name = `${choices.direction} ${choices.method}`;
    const rows = data.directions[choices.direction].rankings[choices.method] || [];
    if (!known.has(name)) known.set(name, rows.map(readQuery));
    return known.get(name);
  }

  const SORTS = {
    ap: (query) => query.ap,
    rank: (query) => query.rank ?? NEVER,
    person: (query) => query.tracklet.person,
    camera: (query) => query.tracklet.camera,
    altitude: (query) => query.tracklet.altitude ?? NEVER,
  };

  function isWanted(query) {
    const value = (name) => filters.elements[name].value.trim();
    const [low, high] = value("match").split("-").map(Number);
    if (value("match") && ((query.rank ?? NEVER) < low || (high && (query.rank ?? NEVER) > high))) return false;
    if (value("camera") && String(query.tracklet.camera) !== value("camera")) return false;
    if (value("altitude") && String(query.tracklet.altitude) !== value("altitude")) return false;
    if (value("person") && String(query.tracklet.person) !== value("person")) return false;
    if (value("from") && !(query.ap >= Number(value("from")))) return false;
    return !(value("to") && !(query.ap <= Number(value("to"))));
  }

  function drawQuery(query) {
    const { tracklet } = query;
    const isOpen = opened.has(query.key);
    const button = make("button", { type: "button", "aria-expanded": isOpen, text: isOpen ? "Close" : "Open" });
    button.setAttribute("aria-label", `${isOpen ? "Close" : "Open"} query ${query.key}`);
    const words = make("div", {},
      make("strong", { class: "ap", text: `AP ${query.ap.toFixed(3)}` }),
      make("div", { text: firstMatch(query.rank) }),
      make("div", { class: "quiet", text: `person ${tracklet.person}` }),
      make("div", { class: "quiet", text: camera(tracklet) }),
      make("div", { class: "quiet", text: place(tracklet) }),
      button);
    const asked = make("div", { class: "asked" }, picture(tracklet.picture, `query ${query.key}`), words);
    const ranked = make("ol", { class: "ranked" }, ...listRanked(query).map(({ other, shownRank, distance }) => {
      const isRight = other.person === tracklet.person;
      return make("li", { class: isRight ? "right" : "wrong" },
        picture(other.picture, `person ${other.person}`),
        make("span", { class: "verdict", text: `${shownRank}. ${isRight ? "✓ right" : "✗ wrong"}` }),
        make("div", { text: camera(other) }),
        make("div", { text: place(other) }),
        make("div", { class: "quiet", text: `distance ${distance.toFixed(3)}` }));
    }));
    const item = make("li", { class: "query", "data-key": query.key },
      make("div", { class: "row" }, asked, ranked));
    if (isOpen) item.append(drawMore(query));
    button.addEventListener("click", () => {
      if (!opened.delete(query.key)) opened.add(query.key);
      const successor = drawQuery(query);
      item.replaceWith(successor);
      successor.querySelector("button").focus({ preventScroll: true });
      rememberChoices();
    });
    return item;
  }

  function drawMore(query) {
    const maps = data.maps[query.number] || { attention: [], frames: [], match: null };
    const parts = [drawFrames(query), drawAttention(maps.attention), drawMaps(maps), drawNeighbours(query)];
    return make("div", { class: "more" }, ...parts.filter((part) => part !== null));
  }

  const clipFrame = (step) => `frame ${step + 1}`;
  const titled = (text, element) => make("div", {}, make("h3", { text }), element);

  function drawFrames({ number, key, tracklet }) {
    const day = tracklet.day === null ? "" : `, day ${tracklet.day}`;
    const frames = data.frames[number];
    const all = `${tracklet.frames} frames`;
    const shown = frames && frames.length < tracklet.frames ? `${frames.length} of ${all}, in time order` : all;
    return titled(`Query ${key}: ${shown}${day}`, frames
      ? make("ol", { class: "frames" }, ...frames.map((index) =>
        make("li", {}, picture(index, "a frame of the query"))))
      : make("p", { class: "quiet", text: "To keep the page small, only the queries with the lowest average precision show more frames." }));
  }

  function drawAttention(weights) {
    if (!weights.length) return null;
    const largest = Math.max(...weights) || 1;
    const title = `Weight of each frame of the clip, % (the ${weights.length} frames of the query that the network saw)`;
    return titled(title, make("ol", { class: "attention" }, ...weights.map((weight, step) => {
      const bar = make("i");
      bar.style.height = `${(100 * weight) / largest}%`;
      return make("li", {}, make("span", {}, bar), `${clipFrame(step)}: ${(100 * weight).toFixed(0)}`);
    })));
  }

  function drawMaps({ frames, match }) {
    const shown = frames.map((index, step) => [index, clipFrame(step)]);
    if (match !== null) shown.push([match, "ranked first"]);
    if (!shown.length) return null;
    return titled("Where the network looked in the clip, and in the tracklet ranked first", make("ol", { class: "frames" }, ...shown.map(([index, words]) =>
      make("li", {}, picture(index, `relevance, ${words}`), words))));
  }

  function drawNeighbours(query) {
    const heads = ["Rank", "Tracklet", "Camera", "View", "Day", "Frames", "Distance"];
    return titled("Nearest gallery tracklets", make("table", { class: "details" },
      make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col", text })))),
      make("tbody", {}, ...listRanked(query).map(({ other, shownRank, distance }) => {
        const verdict = other.person === query.tracklet.person ? "right" : "wrong";
        return make("tr", {}, ...[
          `${shownRank}, ${verdict}`, `${other.person}/${other.name}`, camera(other), place(other),
          other.day === null ? "day unknown" : `day ${other.day}`, `${other.frames} frames`, distance,
        ].map((text) => make("td", { text })));
      }))));
  }

  function drawNext() {
    list.append(...chosen.slice(drawn, drawn + BATCH).map(drawQuery));
    drawn = Math.min(drawn + BATCH, chosen.length);
  }

  function drawList() {
    const queries = queriesNow();
    const value = SORTS[filters.elements.sort.value];
    const sign = filters.elements.order.value === "down" ? -1 : 1;
    chosen = queries.filter(isWanted).sort((one, other) => sign * (value(one) - value(other)));
    count.textContent = queries.length
      ? `${chosen.length.toLocaleString("en")} of ${queries.length.toLocaleString("en")} queries`
      : data.left_out.includes(choices.method)
        ? "To keep the page small, the queries of this method are not listed; their scores are in queries.csv."
        : "This method did not rank this direction.";
    list.replaceChildren();
    drawn = 0;
    drawNext();
  }

  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && drawn < chosen.length) drawNext();
  }, { rootMargin: "1500px" }).observe(document.getElementById("more"));

  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    const items = [...list.children];
    const index = items.indexOf(event.target.closest(".query")) + step;
    if (index >= items.length - 2 && drawn < chosen.length) drawNext();
    const target = list.children[index];
    if (!target) return;
    event.preventDefault();
    target.querySelector("button").focus({ preventScroll: true });
    target.scrollIntoView({ block: "center" });
  });

  // ---- the breakdown

  function drawBreakdown() {
    const method = data.methods[choices.method];
    const direction = data.directions[choices.direction].title;
    const groups = new Map();
    for (const row of data.breakdown) {
      if (row.method !== method || row.direction !== direction) continue;
      if (!groups.has(row.property)) groups.set(row.property, []);
      groups.get(row.property).push(row);
    }
    const heads = () => make("tr", {},
      make("th", { scope: "col", text: "group" }),
      ...["", "R1", "mAP", "queries"].map((text) => make("th", { scope: "col", class: "number", text })));
    document.getElementById("groups").replaceChildren(...[...groups].map(([property, rows]) =>
      make("div", {}, make("table", {},
        make("caption", { text: property.replaceAll("_", " ") }),
        make("thead", {}, heads()),
        make("tbody", {}, ...rows.map((row) => {
          const bar = make("i");
          bar.style.width = `${100 * row.mAP}%`;
          return make("tr", {},
            make("th", { scope: "row", text: row.value }),
            make("td", { class: "bars" }, make("span", { class: "bar" }, bar)),
            make("td", { class: "number", text: percent(row.R1) }),
            make("td", { class: "number", text: percent(row.mAP) }),
            make("td", { class: "number", text: row.num_queries.toLocaleString("en") }));
        }))))));
  }

  // ---- the choices, which the page's address keeps

  function offer(select, values, words) {
    const before = select.value;
    select.replaceChildren(make("option", { value: "", text: "all" }),
      ...[...new Set(values)].sort((one, other) => one - other).map((value) => make("option", { value, text: words(value) })));
    select.value = before;
    if (select.selectedIndex < 0) select.value = "";
  }

  function clearFilters() {
    opened.clear();
    for (const name of FILTERS) {
      const field = filters.elements[name];
      if (field.options) field.selectedIndex = 0;
      else field.value = "";
    }
  }

  function showChoices() {
    const queries = queriesNow();
    const cameras = queries.map((query) => query.tracklet.camera);
    offer(filters.elements.camera, cameras, (value) => (value < 0 ? "unknown" : value));
    const altitudes = queries.map((query) => query.tracklet.altitude).filter((altitude) => altitude !== null);
    offer(filters.elements.altitude, altitudes, (altitude) => `${altitude} m`);
    filters.elements.altitude.closest("label").hidden = !altitudes.length;
    for (const name of ["direction", "method"]) {
      for (const select of document.querySelectorAll(`select[name=${name}]`)) select.value = choices[name];
    }
    drawBreakdown();
  }

  function rememberChoices() {
    const words = new URLSearchParams();
    for (const [name, value] of Object.entries(choices)) if (value) words.set(name, value);
    for (const name of FILTERS) {
      const field = filters.elements[name];
      if (field.value && !(field.options && field.selectedIndex === 0)) words.set(name, field.value);
    }
    for (const key of opened) words.append("open", key);
    history.replaceState(null, "", words.toString() ? `#${words}` : location.pathname + location.search);
  }

  function recallChoices() {
    const words = new URLSearchParams(location.hash.slice(1));
    for (const [name, options] of [["direction", data.directions], ["method", data.methods]]) {
      const value = Number(words.get(name));
      choices[name] = options[value] === undefined ? 0 : value;
    }
    clearFilters();
    for (const key of words.getAll("open")) opened.add(key);
    showChoices();
    for (const name of FILTERS) if (words.has(name)) filters.elements[name].value = words.get(name);
    for (const select of filters.querySelectorAll("select")) if (select.selectedIndex < 0) select.selectedIndex = 0;
    drawList();
    const first = [...opened][0];
    const index = chosen.findIndex((query) => query.key === first);
    if (index < 0) return;
    while (drawn <= index) drawNext();
    list.children[index].scrollIntoView({ block: "center" });
  }

  const methods = data.methods.map((text, value) => [value, text]);
  const directions = data.directions.map(({ title }, value) => [value, title]);
  for (const box of document.querySelectorAll("[data-choices]")) {
    const selects = [["Direction", "direction", directions], ["Method", "method", methods]].map(([text, name, options]) => {
      const select = make("select", { name }, ...options.map(([value, words]) => make("option", { value, text: words })));
      select.addEventListener("change", () => {
        choices[name] = Number(select.value);
        showChoices();
        drawList();
        rememberChoices();
      });
      return make("label", { text }, select);
    });
    box.prepend(...selects);
  }
  filters.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("clear").addEventListener("click", () => {
    clearFilters();
    drawList();
    rememberChoices();
  });
  filters.addEventListener("input", (event) => {
    if (!FILTERS.includes(event.target.name)) return;
    drawList();
    rememberChoices();
  });
  addEventListener("hashchange", () => { if (location.hash.includes("=")) recallChoices(); });
  recallChoices();
}
