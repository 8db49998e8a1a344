// The list of queries and the choices. Every string of the data is escaped.
"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const NEVER = 1e9; // sorts what has no rank or no altitude to the end
  const filters = document.getElementById("filters");
  const fields = [...filters.elements].filter((field) => field.name);
  const list = document.getElementById("list");
  const opened = new Set(); // keys of the queries that are open
  let chosen = [];

  for (const { rankings } of data.directions) {
    for (const query of Object.values(rankings).flat()) {
      query.tracklet = data.tracklets[query.query];
      query.places = query.places.map(([rank, number, distance]) => {
        const other = data.tracklets[number];
        return { rank, distance, other, verdict: other.pid === query.tracklet.pid ? "right" : "wrong" };
      });
    }
  }

  // ---- html`...${value}`: values are escaped, but for what html`` made itself, and lists of it

  const escape = (value) => String(value).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const asText = (value) => [value].flat().map((each) => each.text ?? escape(each)).join("");
  const html = (parts, ...values) => ({ text: parts.reduce((text, part, index) => text + asText(values[index - 1]) + part) });

  const picture = (content, words) => (content
    ? html`<img class="picture" alt="${words}" height="${data.size[0]}" width="${data.size[1]}" decoding="async" src="data:image/webp;base64,${content}">`
    : html`<span class="picture missing">no picture</span>`);
  const pictures = (rows) => html`<ol class="frames">
    ${rows.map(([content, words, caption]) => html`<li>${picture(content, words)}${caption}</li>`)}</ol>`;
  const camera = (tracklet) => (tracklet.camid < 0 ? "unknown camera" : `camera ${tracklet.camera}`);
  const place = (tracklet) => (tracklet.altitude === null ? tracklet.view : `${tracklet.view}, ${tracklet.altitude} m`);

  // ---- a query

  function drawQuery(query) {
    const { tracklet, precision, rank, places } = query;
    const holder = document.createElement("template");
    holder.innerHTML = html`
      <li class="query" data-key="${tracklet.key}">
        <div class="row">
          <div class="asked">${picture(data.pictures[tracklet.picture], `query ${tracklet.key}`)}
            <div><strong>AP ${(100 * precision).toFixed(2)} %</strong>${rank === null ? "no true match" : `first match at rank ${rank}`}
              <div class="quiet">person ${tracklet.person}<br>${camera(tracklet)}<br>${place(tracklet)}</div></div>
          </div>
          <ol class="ranked">${places.map(({ rank, distance, other, verdict }) => html`
            <li class="${verdict}">${picture(data.pictures[other.picture], `person ${other.person}`)}
              <span class="verdict">${rank}. ${verdict === "right" ? "✓" : "✗"} ${verdict}</span>
              ${other.key}<br>${camera(other)}<br>${place(other)}<div class="quiet">distance ${distance.toFixed(3)}</div></li>`)}
          </ol>
        </div>
        <details><summary aria-label="More of query ${tracklet.key}">More</summary></details>
      </li>`.text;
    const item = holder.content.firstElementChild;
    const more = item.querySelector("details");
    more.addEventListener("toggle", () => {
      if (more.open && more.children.length === 1) more.insertAdjacentHTML("beforeend", drawMore(tracklet).text);
      opened[more.open ? "add" : "delete"](tracklet.key);
      rememberChoices();
    });
    return item;
  }

  function drawMore({ key, day, numFrames, frames, maps }) {
    const shown = frames && frames.length < numFrames ? `${frames.length} of ${numFrames}` : numFrames;
    return html`
      <h3>Query ${key}: ${shown} frames, in time order${day === null ? "" : `, day ${day}`}</h3>
      ${frames
        ? pictures(frames.map((index) => [data.pictures[index], "a frame of the query", ""]))
        : html`<p class="quiet">To keep the page small, only the queries with the lowest average precision show more frames.</p>`}
      ${maps ? drawMaps(maps) : ""}`;
  }

  function drawMaps({ weights, pictures: contents }) {
    const largest = Math.max(...weights);
    const rows = contents.map((content, step) => (step < weights.length
      ? [content, `relevance, frame ${step + 1}`, html`frame ${step + 1}: ${(100 * weights[step]).toFixed(1)}
          <meter value="${weights[step]}" max="${largest}"></meter>`]
      : [content, "relevance, ranked first", "ranked first"]));
    return html`
      <h3>Where the network looked in the clip and in the tracklet ranked first, and the weights of the clip's
        ${weights.length} frames, %</h3>
      ${pictures(rows)}`;
  }

  // ---- the list, and the choices, which the page's address keeps

  const value = (name) => filters.elements[name].value.trim();
  const isWanted = ({ rank, tracklet }) => (rank ?? NEVER) > Number(value("after"))
    && ["camera", "altitude", "person"].every((name) => !value(name) || String(tracklet[name]) === value(name));

  function showChoices() {
    const [direction, method] = [data.directions[Number(value("direction"))], Number(value("method"))];
    for (const table of document.querySelectorAll(".groups table")) {
      table.hidden = table.dataset.direction !== direction.title || table.dataset.method !== data.methods[method];
    }
    const queries = direction.rankings[method];
    const name = { person: "pid", camera: "camid" }[value("sort")] ?? (value("sort") || "precision");
    const sorted = (query) => (query[name] ?? query.tracklet[name] ?? NEVER) * (value("order") ? -1 : 1);
    chosen = (queries ?? []).filter(isWanted).sort((one, other) => sorted(one) - sorted(other));
    document.getElementById("count").textContent = queries
      ? `${chosen.length} of ${queries.length} queries`
      : "This method did not rank this direction.";
    for (const query of chosen) query.item ??= drawQuery(query);
    list.replaceChildren(...chosen.map(({ item }) => item));
    for (const { item, tracklet } of chosen) item.querySelector("details").open = opened.has(tracklet.key);
  }

  function rememberChoices() {
    const words = new URLSearchParams([...new FormData(filters)].filter(([, word]) => word));
    for (const key of opened) words.append("open", key);
    history.replaceState(null, "", words.size ? `#${words}` : location.pathname + location.search);
  }

  function recallChoices() {
    const words = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) field.value = words.get(field.name) ?? "";
    opened.clear();
    for (const key of words.getAll("open")) opened.add(key);
    showChoices();
    chosen.find(({ tracklet }) => opened.has(tracklet.key))?.item.scrollIntoView({ block: "center" });
  }

  function change() {
    showChoices();
    rememberChoices();
  }

  for (const field of fields) field.addEventListener("input", change);
  filters.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("clear").addEventListener("click", () => {
    for (const field of fields) if (filters.contains(field)) field.value = "";
    opened.clear();
    change();
  });
  addEventListener("hashchange", () => { if (location.hash.includes("=")) recallChoices(); });
  recallChoices();
}
