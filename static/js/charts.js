// Draws every `.chart[data-series]` and keeps it fresh on `hint:readings`. Times arrive in UTC and are drawn on the wall
// clock of the site, whose zone comes with the data.
(() => {
  "use strict";
  const MS_BETWEEN_FETCHES = 5000;
  const LEAST_MARK_SHARE = 0.004;
  const charts = new Map();

  const color = (name, percent = 100) => {
    const value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(value.slice(i, i + 2), 16));
    return `rgba(${r},${g},${b},${percent / 100})`;
  };
  const NOTE_COLORS = { note: ["accent", 16], excluded: ["muted", 24], failure: ["critical", 12], work: ["good", 16] };
  const LIMIT_COLORS = { warn: "medium", alarm: "critical" };
  const MARK_COLORS = { credible_anomaly: ["critical", 22], further_investigation_needed: ["medium", 26] };

  // Offset of a zone, looked up once an hour of data: asking for every point would be slow.
  const formats = new Map();
  const offsets = new Map();
  function offsetOf(zone, at) {
    const key = `${zone} ${Math.floor(at / 3600000)}`;
    if (!offsets.has(key)) {
      if (!formats.has(zone)) {
        const fields = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" };
        formats.set(zone, new Intl.DateTimeFormat("en-US", { timeZone: zone, hourCycle: "h23", ...fields }));
      }
      const hour = Math.floor(at / 3600000) * 3600000;
      const part = Object.fromEntries(formats.get(zone).formatToParts(hour).map((p) => [p.type, Number(p.value)]));
      offsets.set(key, Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) - hour);
    }
    return offsets.get(key);
  }
  const wall = (at, zone) => new Date(at + offsetOf(zone, at)).toISOString().slice(0, -1);

  function withGaps(series) {
    const x = [];
    const y = [];
    let previous = null;
    series.times.forEach((iso, i) => {
      const at = Date.parse(iso);
      if (previous !== null && series.gap_seconds && at - previous > series.gap_seconds * 1000) {
        x.push(wall(previous + 1, series.timezone));
        y.push(null);
      }
      x.push(wall(at, series.timezone));
      y.push(series.values[i]);
      previous = at;
    });
    return { x, y };
  }

  // What is doubted is no part of the line, and at most at its edge: an impossible value would flatten all others.
  function doubtedTrace(series, unit) {
    const { times = [], values = [], why = [] } = series.doubted ?? {};
    const [low, high] = series.values.reduce(([l, h], v) => [Math.min(l, v), Math.max(h, v)], [Infinity, -Infinity]);
    const inside = (value) => (low <= high ? Math.min(Math.max(value, low), high) : value);
    return {
      x: times.map((iso) => wall(Date.parse(iso), series.timezone)),
      y: values.map(inside),
      customdata: values.map((value, i) => [value, why[i] || "of low quality"]),
      mode: "markers", type: "scatter", marker: { size: 7, symbol: "x-thin-open", color: color("muted"), line: { width: 1.6 } },
      hovertemplate: `%{customdata[0]:,.5~g}${unit}, doubted: %{customdata[1]}<extra></extra>`,
    };
  }

  function shade(series, start, end, fill) {
    const from = Date.parse(series.from);
    const to = Date.parse(series.to);
    const least = (to - from) * LEAST_MARK_SHARE;
    const middle = (start + end) / 2;
    const half = Math.max(end - start, least) / 2;
    const [x0, x1] = [Math.max(middle - half, from), Math.min(middle + half, to)];
    return { type: "rect", xref: "x", yref: "paper", x0: wall(x0, series.timezone), x1: wall(x1, series.timezone), y0: 0, y1: 1, fillcolor: fill, line: { width: 0 }, layer: "below" };
  }

  // Plotly reads some tags in its texts; what people wrote is to be shown as it is.
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const PIXELS_PER_LETTER = 6.5;
  const LEAST_LETTERS = 4;

  // As much of the words as fits before the next note begins.
  function labelOf(element, series, notes, note) {
    const [from, to, start] = [series.from, series.to, note.start].map(Date.parse);
    const next = Math.min(to, ...notes.map((other) => Date.parse(other.start)).filter((other) => other > start));
    const share = (next - Math.max(start, from)) / (to - from);
    const room = Math.floor((share * element.clientWidth) / PIXELS_PER_LETTER) - 2;
    if (room < LEAST_LETTERS) return "";
    return note.text.length > room ? `${note.text.slice(0, room - 1)}…` : note.text;
  }

  function shapeOfNote(element, series, notes, note) {
    const [name, percent] = NOTE_COLORS[note.kind] ?? NOTE_COLORS.note;
    return {
      ...shade(series, Date.parse(note.start), Date.parse(note.end), color(name, percent)),
      line: { width: 1, color: color(name, 60), dash: "dot" },
      label: { text: plain(labelOf(element, series, notes, note)), textposition: "top left", font: { size: 11, color: color(name) } },
    };
  }

  // Those of the sensor, unless the page is about others.
  function limitsOf(element, series) {
    const limits = element.dataset.limits ? JSON.parse(element.dataset.limits) : (series.limits ?? []);
    return limits.map(([name, at]) => ({ type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: at, y1: at, line: { width: 1.2, dash: "dash", color: color(LIMIT_COLORS[name]) } }));
  }

  function shapesOf(element, series, marks) {
    const shapes = marks.map((mark) =>
      shade(series, Date.parse(mark.start), Date.parse(mark.end), color(...(MARK_COLORS[mark.decision] ?? ["muted", 18])))
    );
    const { low, high, eventStart, eventEnd } = element.dataset;
    if (low && high) {
      shapes.unshift({ type: "rect", xref: "paper", yref: "y", x0: 0, x1: 1, y0: Number(low), y1: Number(high), fillcolor: color("good", 13), line: { width: 0 }, layer: "below" });
    }
    JSON.parse(element.dataset.spans ?? "[]").forEach(([start, end]) => shapes.push(shade(series, Date.parse(start), Date.parse(end), color("critical", 22))));
    if (eventStart && eventEnd && marks.length === 0) {
      shapes.push(shade(series, Date.parse(eventStart), Date.parse(eventEnd), color("critical", 20)));
    }
    shapes.push(...limitsOf(element, series));
    const { notes = [] } = charts.get(element);
    return [...notes.map((note) => shapeOfNote(element, series, notes, note)), ...shapes];
  }

  function layoutOf(element, series, marks) {
    const axis = { gridcolor: color("line"), linecolor: color("line"), zeroline: false, automargin: true, fixedrange: matchMedia("(pointer: coarse)").matches };
    return {
      margin: { l: 44, r: 12, t: 8, b: 28 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: color("muted") },
      showlegend: false,
      hovermode: "x unified",
      hoverlabel: { bgcolor: color("surface"), bordercolor: color("line"), font: { color: color("text") } },
      xaxis: { ...axis, type: "date", showgrid: false, range: [wall(Date.parse(series.from), series.timezone), wall(Date.parse(series.to), series.timezone)] },
      yaxis: { ...axis, nticks: 5, title: { text: series.unit === "1" ? "" : series.unit, standoff: 6 } },
      shapes: shapesOf(element, series, marks),
      dragmode: marking ? "select" : "zoom",
      selectdirection: "h",
      uirevision: element.dataset.query,
    };
  }

  function note(element, text) {
    let place = element.querySelector(".chart-note");
    if (!place) {
      place = document.createElement("p");
      place.className = "chart-note";
      element.append(place);
    }
    place.textContent = text;
    place.hidden = !text;
  }

  function draw(element) {
    const { series, marks } = charts.get(element);
    if (!series) return;
    if (series.times.length === 0 && !series.doubted?.times.length) {
      if (element.classList.contains("js-plotly-plot")) Plotly.purge(element);
      note(element, "No readings in this stretch of time. Choose a longer one.");
      return;
    }
    note(element, "");
    const { x, y } = withGaps(series);
    const unit = series.unit === "1" ? "" : ` ${series.unit}`;
    const few = x.length <= 60;
    const trace = { x, y, mode: few ? "lines+markers" : "lines", type: "scatter", line: { color: color("accent"), width: 1.6 }, marker: { size: 4 }, connectgaps: false, hovertemplate: `%{y:,.5~g}${unit}<extra></extra>` };
    Plotly.react(element, [trace, doubtedTrace(series, unit)], layoutOf(element, series, marks), { displayModeBar: false });
    listenForStretch(element);
  }

  // Marking: while the button is pressed, drawing over a chart chooses a stretch of time instead of zooming.
  let marking = false;

  function listenForStretch(element) {
    const chart = charts.get(element);
    if (chart.listening) return;
    chart.listening = true;
    element.on("plotly_selected", (event) => event?.range?.x && offerNote(element, event.range.x));
  }

  function offerNote(element, range) {
    // Plotly's times are those of the site's wall clock already; the form takes whole seconds.
    const [from, to] = range.map((x) => Date.parse(`${String(x).replace(" ", "T")}Z`)).sort((a, b) => a - b);
    const iso = (ms) => new Date(ms).toISOString().slice(0, 19);
    const stretch = { start: iso(Math.floor(from / 1000) * 1000), end: iso(Math.ceil(to / 1000) * 1000), sensor: element.dataset.sensor };
    const bar = document.getElementById("stretch");
    bar.querySelector("span").textContent = `${stretch.start.replace("T", " ")} to ${stretch.end.replace("T", " ")}`;
    bar.querySelector("a").href = `${document.getElementById("mark").dataset.annotate}?${new URLSearchParams(stretch)}`;
    bar.hidden = false;
  }

  function toggleMarking(button) {
    marking = !marking;
    button.setAttribute("aria-pressed", String(marking));
    document.getElementById("stretch").hidden = true;
    charts.forEach((_, element) => {
      element.classList.toggle("marking", marking);
      if (!element.classList.contains("js-plotly-plot")) return;
      Plotly.relayout(element, { dragmode: marking ? "select" : "zoom", selections: [] });
    });
  }

  // A page of charts of very many readings asks for more of them at once than one user may: it waits for its turn.
  async function load(url, tries = 10) {
    const answer = await fetch(url, { headers: { Accept: "application/json" } });
    if (answer.status === 429 && tries > 1) {
      await new Promise((done) => setTimeout(done, (Number(answer.headers.get("Retry-After")) || 2) * 1000));
      return load(url, tries - 1);
    }
    if (!answer.ok || answer.redirected) throw new Error(`${answer.status}`);
    return answer.json();
  }

  const shared = new Map();
  async function fetchJson(url) {
    if (!shared.has(url)) {
      const request = load(url);
      shared.set(url, request);
      request.catch(() => {}).finally(() => setTimeout(() => shared.delete(url), 2000));
    }
    return shared.get(url);
  }

  async function refresh(element) {
    const chart = charts.get(element);
    const query = element.dataset.query;
    chart.fetchedAt = performance.now();
    try {
      const series = await fetchJson(`${element.dataset.series}?${query}`);
      // All charts of an asset ask for the same stretch of time, so that they share one answer.
      const minute = (iso, up) => new Date(Math[up]((Date.parse(iso) / 60000)) * 60000).toISOString();
      const stretch = new URLSearchParams({ from: minute(series.from, "floor"), to: minute(series.to, "ceil") });
      const about = async (url) => (url ? fetchJson(`${url}?${stretch}`) : {});
      const { marks: marksUrl, annotations, work } = element.dataset;
      const [found, said, done] = await Promise.all([about(marksUrl), about(annotations), about(work)]);
      const marks = found.sensors?.[element.dataset.sensor] ?? [];
      const notes = (said.annotations ?? []).filter(({ sensor }) => sensor === null || String(sensor) === element.dataset.sensor).concat(done.work ?? []);
      if (query !== element.dataset.query) return;
      Object.assign(chart, { series, marks, notes });
      draw(element);
    } catch {
      if (!chart.series) note(element, "The readings could not be loaded. Trying again shortly.");
    } finally {
      element.removeAttribute("aria-busy");
    }
  }

  // Not more often than the chart could show a difference, and only while somebody can see it.
  function refreshWhenDue(element) {
    const chart = charts.get(element);
    if (!chart.visible || document.hidden || chart.timer) return;
    if (chart.series && !element.dataset.query.startsWith("range=") && Date.parse(chart.series.to) < Date.now()) return;
    const pause = Math.max(MS_BETWEEN_FETCHES, (chart.series?.bucket_seconds ?? 0) * 1000);
    const wait = (chart.fetchedAt ?? -Infinity) + pause - performance.now();
    if (wait > 600000) return;
    chart.timer = setTimeout(() => {
      chart.timer = 0;
      refresh(element);
    }, Math.max(wait, 0));
  }

  function choose(link) {
    link.parentElement.querySelectorAll("a").forEach((other) => other.removeAttribute("aria-current"));
    link.setAttribute("aria-current", "true");
    history.replaceState(null, "", link.href);
    charts.forEach((chart, element) => {
      element.dataset.query = `range=${link.dataset.range}`;
      clearTimeout(chart.timer);
      chart.timer = 0;
      if (chart.visible) refresh(element);
      else chart.fetchedAt = undefined;
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    const watcher = new IntersectionObserver((entries) => {
      entries.forEach(({ target, isIntersecting }) => {
        const chart = charts.get(target);
        chart.visible = isIntersecting;
        if (isIntersecting && chart.fetchedAt === undefined) refresh(target);
      });
    }, { rootMargin: "200px" });
    const sizes = new ResizeObserver((entries) => {
      entries.forEach(({ target }) => target.classList.contains("js-plotly-plot") && Plotly.Plots.resize(target));
    });
    document.querySelectorAll(".chart[data-series]").forEach((element) => {
      charts.set(element, { marks: [] });
      watcher.observe(element);
      sizes.observe(element);
    });
    const everyChart = (what) => charts.forEach((_, element) => what(element));
    document.body.addEventListener("hint:readings", () => everyChart(refreshWhenDue));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => everyChart(draw));
    const mark = document.getElementById("mark");
    if (mark) {
      mark.hidden = false;
      mark.addEventListener("click", () => toggleMarking(mark));
    }
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-range]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      choose(link);
    });
  });
})();
