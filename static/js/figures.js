// Draws every `.chart[data-bars]`: stacked bars of a few named values. The numbers are on the page as well.
(() => {
  "use strict";
  const COLORS = { Planned: "low-edge", Unplanned: "critical-edge", Failures: "critical-edge", Hours: "high-edge" };
  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  // Plotly reads some tags in its texts; what people wrote is to be shown as it is.
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

  function draw(element) {
    const { names, series, unit } = JSON.parse(element.dataset.bars);
    const x = names.map(plain);
    const traces = Object.entries(series).map(([name, y]) => ({
      type: "bar", name, x, y, marker: { color: variable(COLORS[name]) || variable("accent") },
      hovertemplate: `%{y:,.5~g} ${unit}<extra>${name}</extra>`,
    }));
    const axis = { gridcolor: variable("line"), linecolor: variable("line"), zeroline: false, automargin: true, fixedrange: true };
    const layout = {
      barmode: "stack", margin: { l: 44, r: 12, t: 8, b: 28 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: variable("muted") },
      showlegend: traces.length > 1, legend: { orientation: "h", y: 1.15 },
      xaxis: { ...axis, type: "category", showgrid: false, nticks: 12 }, yaxis: { ...axis, nticks: 5, rangemode: "tozero", title: { text: unit, standoff: 6 } },
    };
    Plotly.react(element, traces, layout, { displayModeBar: false, responsive: true });
  }

  const drawAll = () => document.querySelectorAll(".chart[data-bars]").forEach(draw);
  document.addEventListener("DOMContentLoaded", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
