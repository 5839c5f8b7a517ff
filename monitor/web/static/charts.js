// Draws each detector's score above its evidence, all on one time axis. The labels are
// words of Driftline, except the titles of declared changes: Plotly reads tags and entities
// in its texts, so these go in through literal().
"use strict";

const SCORE_PX = 92;
const EVIDENCE_PX = 74;
const GAP_PX = 10;
const BLOCK_GAP_PX = 34;
const MARGIN = { t: 34, b: 34 };
const LONGEST_TITLE = 24;
const FLOOR = -6; // evidence below this is "nothing at all"; drawing it would flatten the rest

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function layoutRows(count) {
  const block = SCORE_PX + GAP_PX + EVIDENCE_PX;
  const inner = count * block + (count - 1) * BLOCK_GAP_PX;
  const rows = [];
  for (let i = 0; i < count; i += 1) {
    const top = i * (block + BLOCK_GAP_PX);
    const part = (from, height) => [1 - (from + height) / inner, 1 - from / inner];
    rows.push({ score: part(top, SCORE_PX), evidence: part(top + SCORE_PX + GAP_PX, EVIDENCE_PX) });
  }
  return { rows, height: inner + MARGIN.t + MARGIN.b };
}

function alarms(detector) {
  return [...detector.evidence_notice.slice(-1), ...detector.evidence_page.slice(-1)].some((one) => one !== null && one >= 0);
}

function clipped(values) {
  return values.map((value) => (value === null ? null : Math.max(value, FLOOR)));
}

function traces(detector, index) {
  const y = (offset) => (2 * index + offset === 1 ? "y" : `y${2 * index + offset}`);
  const line = (values, axis, name, look) => ({
    x: detector.at, y: values, name, xaxis: "x", yaxis: axis, type: "scatter", mode: detector.at.length > 1 ? "lines" : "markers",
    line: look, marker: { color: look.color, size: 6 }, hovertemplate: `${name} %{y:.3g}<extra></extra>`,
  });
  return [
    line(detector.value, y(1), `${detector.detector} score`, { color: colour("score"), width: 1.8 }),
    line(clipped(detector.evidence_notice), y(2), "notice evidence", { color: colour("notice"), width: 1.4 }),
    line(clipped(detector.evidence_page), y(2), "page evidence", { color: colour("critical"), width: 1.8 }),
  ];
}

function axes(detectors, rows) {
  const plain = { gridcolor: colour("grid"), zeroline: false, fixedrange: true, nticks: 4, tickfont: { size: 10 }, automargin: false };
  const found = {};
  detectors.forEach((detector, i) => {
    const name = (offset) => (2 * i + offset === 1 ? "yaxis" : `yaxis${2 * i + offset}`);
    const highest = Math.max(0, ...detector.evidence_notice, ...detector.evidence_page);
    const largest = Math.max(0, ...detector.value);
    const least = Math.min(0, ...detector.value);
    found[name(1)] = { ...plain, domain: rows[i].score, range: [least * 1.1, Math.max(largest * 1.15, least === 0 && largest === 0 ? 1 : 0)], nticks: 3 };
    found[name(2)] = { ...plain, domain: rows[i].evidence, range: [FLOOR - 0.3, Math.max(2, highest * 1.1)], nticks: 4 };
  });
  return found;
}

function literal(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function shortened(text) {
  const letters = [...text];
  return letters.length > LONGEST_TITLE ? `${letters.slice(0, LONGEST_TITLE - 1).join("")}…` : text;
}

function declared(chart, line) {
  return chart.changes.flatMap((one) => {
    const shapes = one.begun_at >= chart.since ? [line(one.begun_at, colour("declared"), "dashdot", 1.5)] : [];
    if (one.ended_at === one.begun_at) return shapes;
    const start = one.begun_at >= chart.since ? one.begun_at : chart.since;
    return [...shapes, {
      type: "rect", xref: "x", yref: "paper", x0: start, x1: one.ended_at ?? chart.until, y0: 0, y1: 1,
      fillcolor: colour("declared"), opacity: 0.14, line: { width: 0 }, layer: "below", name: "declared",
    }];
  });
}

function verticals(chart) {
  const line = (at, color, dash, width) => ({
    type: "line", xref: "x", yref: "paper", x0: at, x1: at, y0: 0, y1: 1, line: { color, dash, width }, layer: "above",
  });
  const shapes = chart.transitions.map((one) => line(one.at, colour(one.after), "solid", 1.5));
  shapes.push(...chart.routes.map((one) => line(one.at, colour("route"), "dot", 2)));
  shapes.push(...declared(chart, line));
  if (chart.onset && chart.onset.latest > chart.since) {
    const start = chart.onset.earliest > chart.since ? chart.onset.earliest : chart.since;
    shapes.push({
      type: "rect", xref: "x", yref: "paper", x0: start, x1: chart.onset.latest, y0: 0, y1: 1,
      fillcolor: colour("onset"), opacity: 0.18, line: { width: 0 }, layer: "below",
    });
  }
  return shapes;
}

function alarmLines(detectors) {
  return detectors.map((_, i) => ({
    type: "line", xref: "paper", x0: 0, x1: 1, yref: `y${2 * i + 2}`, y0: 0, y1: 0,
    line: { color: colour("critical"), width: 1.2, dash: "dash" }, layer: "below",
  }));
}

function headings(detectors, rows) {
  return detectors.map((detector, i) => ({
    text: `<b>${detector.detector}</b>`, xref: "paper", yref: "paper", x: 0, y: rows[i].score[1], xanchor: "left", yanchor: "bottom",
    showarrow: false, font: { size: 13, color: colour("text") },
  }));
}

// Marks close together would write their words over each other: the later one goes one line
// up. Our own words are placed before the titles, which are long and stand in the list too.
function markLabels(chart, width) {
  const earlier = (a, b) => (a.at < b.at ? -1 : 1);
  const own = [
    ...chart.transitions.map((one) => ({ at: one.at, text: one.after, color: colour(one.after) })),
    ...chart.routes.map((one) => ({ at: one.at, text: `route g${one.generation}`, color: colour("route") })),
  ];
  const titles = chart.changes.map((one) => ({
    at: one.begun_at > chart.since ? one.begun_at : chart.since, color: colour("declared"),
    text: `${one.kind === "other" ? "change" : one.kind}: ${shortened(one.title)}`,
  }));
  const lanes = [[], [], [], [], []];
  return [...own.sort(earlier), ...titles.sort(earlier)].flatMap((mark) => labelOf(mark, chart, width, lanes));
}

function labelOf(mark, chart, width, lanes) {
  const span = new Date(chart.until) - new Date(chart.since);
  const at = ((new Date(mark.at) - new Date(chart.since)) / span) * width;
  const half = mark.text.length * 3.6;
  const middle = Math.max(Math.min(at, width - half), half); // none is written over the edge
  const free = (taken) => taken.every(([start, end]) => middle - half > end + 4 || middle + half < start - 4);
  const lane = lanes.findIndex(free);
  if (lane < 0) return [];
  lanes[lane].push([middle - half, middle + half]);
  return [{
    text: literal(mark.text), x: mark.at, y: 1, xref: "x", yref: "paper", yanchor: "bottom", xshift: middle - at, yshift: 16 + lane * 13,
    showarrow: false, font: { size: 11, color: mark.color },
  }];
}

function figure(chart, width) {
  const detectors = chart.detectors;
  const { rows, height } = layoutRows(detectors.length);
  const labels = markLabels(chart, width);
  const top = MARGIN.t + Math.max(0, ...labels.map((one) => one.yshift - 1));
  return {
    data: detectors.flatMap(traces),
    layout: {
      height: height + top - MARGIN.t, margin: { l: 46, r: 10, t: top, b: MARGIN.b },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, uirevision: location.search,
      font: { family: getComputedStyle(document.body).fontFamily, color: colour("faint"), size: 12 },
      hovermode: "x", hoversubplots: "axis",
      hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text"), size: 12 } },
      xaxis: {
        range: [chart.since, chart.until], anchor: `y${2 * detectors.length}`, gridcolor: colour("grid"), type: "date", fixedrange: true,
        showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "solid", spikecolor: colour("faint"), nticks: Math.max(3, Math.floor(width / 110)), hoverformat: "%-d %b %H:%M:%S UTC",
        tickformatstops: [
          { dtickrange: [null, 60_000], value: "%H:%M:%S" }, { dtickrange: [60_000, 86_400_000], value: "%H:%M\n%-d %b" },
          { dtickrange: [86_400_000, null], value: "%-d %b" },
        ],
      },
      ...axes(detectors, rows),
      shapes: [...alarmLines(detectors), ...verticals(chart)],
      annotations: [...headings(detectors, rows), ...labels],
    },
    config: { displayModeBar: false, responsive: true, displaylogo: false, scrollZoom: false, doubleClick: false },
  };
}

window.drawChart = async function drawChart() {
  const place = document.getElementById("chart");
  const answer = await fetch(place.dataset.source);
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  const chart = await answer.json();
  chart.detectors.sort((a, b) => Number(alarms(b)) - Number(alarms(a)) || a.detector.localeCompare(b.detector));
  document.getElementById("chart-empty").hidden = chart.detectors.length > 0;
  place.hidden = chart.detectors.length === 0;
  if (place.hidden) return;
  const { data, layout, config } = figure(chart, place.clientWidth - 56);
  await Plotly.react(place, data, layout, config);
  place.dataset.drawn = chart.until;
};

const redraw = () => window.drawChart().catch(() => {});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
redraw();
