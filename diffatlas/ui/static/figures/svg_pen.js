// Drawing a figure's JSON as plain SVG: lines, points, bars and heat maps, with the colours, dashes, axes and words that
// plotly.js gives the same JSON.

import { svg } from "../core/dom.js";
import { short } from "../core/format.js";
import { dashOf } from "./figure_legend.js";
import { edgesOf, isNone, plain } from "./figure_words.js";
import { chartsOf, lay, roomOf } from "./svg_axes.js";

const SHAPES = { square: "M-4-4H4V4H-4Z", diamond: "M0-5L5 0L0 5L-5 0Z", "triangle-up": "M0-5L5 4H-5Z", "triangle-down": "M0 5L5-4H-5Z", x: "M-4-4L4 4M4-4L-4 4", cross: "M0-5V5M-5 0H5" };

let made = 0;

/** Create the pen of a figure in `stage`; `place()` is called when it has drawn. */
export function createSvgPen(stage, place) {
  const drawing = svg("svg", { class: "da-svg-figure", "aria-hidden": "true" });
  stage.append(drawing);
  const clips = `da-svg-clip-${++made}`;
  let drawn = null; // {traces, layout, charts, room}

  async function draw(traces, layout) {
    const charts = chartsOf(layout, traces.filter(({ visible }) => visible !== false));
    const room = roomOf(layout, charts);
    for (const chart of charts) lay(chart, room);
    drawn = { traces, layout, charts, room };
    for (const [name, value] of Object.entries({ width: room.width, height: room.height, viewBox: `0 0 ${room.width} ${room.height}` })) drawing.setAttribute(name, value);
    const marks = (isBelow) => (layout.shapes ?? []).filter(({ layer }) => (layer === "below") === isBelow).map((shape) => shapeOf(shape, axis, room));
    drawing.replaceChildren(
      ...charts.flatMap((chart) => (chart.x.known ? frame(chart) : [])),
      ...marks(true),
      ...charts.flatMap(within),
      ...marks(false),
      ...(layout.annotations ?? []).map((note) => noteOf(note, axis, room, layout)),
    );
    place();
  }

  // What is drawn in a chart, and nothing of it outside.
  function within({ number, x, y, traces }) {
    const id = `${clips}-${number || 1}`;
    const area = svg("rect", { x: x.begin, y: y.end - 1, width: x.end - x.begin, height: y.begin - y.end + 2 });
    const inks = traces.map((trace) => svg("g", { "clip-path": `url(#${id})`, opacity: trace.opacity ?? null }, ...ink(trace, x, y)));
    return [svg("clipPath", { id }, area), ...inks, ...traces.filter(({ colorbar }) => colorbar).flatMap((trace) => colours(trace, x, y, `${id}-ramp`))];
  }

  /** See plotly_pen.js. */
  function axis(name) {
    const chart = drawn?.charts.find(({ number }) => number === name.slice(5));
    return chart?.[name[0]].known ? chart[name[0]] : null;
  }

  function hide(numbers, shown) {
    for (const number of numbers) drawn.traces[number] = { ...drawn.traces[number], visible: shown };
    return draw(drawn.traces, drawn.layout);
  }

  const widen = (width) => draw(drawn.traces, { ...drawn.layout, width });
  return { load: async () => {}, draw, room: () => drawn?.room ?? null, axis, isZoomed: () => false, unzoom: () => {}, hide, widen };
}

const words = (text, at, font = {}, more = {}) => svg("text", { ...at, "font-family": font.family ?? null, "font-size": font.size ?? null, fill: font.color ?? "currentColor", ...more }, text);

// The axes of a chart, with ticks and titles.
function frame({ x, y }) {
  const grid = y.look.showgrid === false ? [] : y.ticks(y.begin - y.end).map(({ at }) => svg("line", { x1: x.begin, x2: x.end, y1: y.to(at), y2: y.to(at), stroke: y.look.gridcolor }));
  const across = x.look.showticklabels === false ? [] : x.ticks(x.end - x.begin).flatMap(({ at, text }) => [svg("line", { x1: x.to(at), x2: x.to(at), y1: y.begin, y2: y.begin + 4, stroke: x.look.tickcolor }), words(text, { x: x.to(at), y: y.begin + 15, "text-anchor": "middle" }, x.look.tickfont)]);
  const up = y.look.showticklabels === false ? [] : y.ticks(y.begin - y.end).map(({ at, text }) => words(text, { x: x.begin - 6, y: y.to(at) + 4, "text-anchor": "end" }, y.look.tickfont));
  const middle = (y.begin + y.end) / 2;
  return [
    ...grid,
    svg("line", { x1: x.begin, x2: x.end, y1: y.begin, y2: y.begin, stroke: x.look.linecolor }),
    ...across,
    ...up,
    ...(x.look.title.text ? [words(plain(x.look.title.text), { x: (x.begin + x.end) / 2, y: y.begin + 34, "text-anchor": "middle" }, x.look.title.font)] : []),
    ...(y.look.title.text ? [words(plain(y.look.title.text), { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, y.look.title.font)] : []),
  ];
}

function ink(trace, x, y) {
  if (trace.type === "heatmap") return squares(trace, x, y);
  if (trace.type === "bar") return [svg("path", { d: bars(trace, x, y), fill: trace.marker.color })];
  const { mode = "lines", line = {}, marker = {} } = trace;
  return [...(mode.includes("lines") ? [svg("path", { d: pathOf(trace, x, y), fill: "none", stroke: line.color, "stroke-width": line.width ?? 2, "stroke-dasharray": dashOf(line), "stroke-linejoin": "round" })] : []), ...(mode.includes("markers") ? points(trace, marker, x, y) : [])];
}

const isShown = (axis, value) => !isNone(value) && (!axis.log || value > 0);

/** The path of a line; where a value is not known it is broken. */
function pathOf({ x: along, y: values, line }, x, y) {
  let pen = "M";
  let before = 0;
  return along
    .map((at, k) => {
      if (!isShown(y, values[k]) || !isShown(x, at)) {
        pen = "M";
        return "";
      }
      const [left, top] = [x.to(at), y.to(values[k])].map((place) => Number(place.toFixed(1)));
      const part = pen === "L" && line?.shape === "hvh" ? `H${(before + left) / 2}V${top}H${left}` : `${pen}${left},${top}`;
      pen = "L";
      before = left;
      return part;
    })
    .join("");
}

function bars({ x: along, y: values, width }, x, y) {
  const base = y.log ? y.begin : y.to(0);
  return along
    .map((at, k) => {
      if (!isShown(y, values[k]) || !values[k]) return "";
      const half = (Array.isArray(width) ? width[k] : (width ?? 1)) / 2;
      return `M${x.to(at - half).toFixed(1)},${base}V${y.to(values[k]).toFixed(1)}H${x.to(at + half).toFixed(1)}V${base}Z`;
    })
    .join("");
}

function points({ x: along, y: values, line }, marker, x, y) {
  const size = (marker.size ?? 6) / 2;
  const symbol = marker.symbol ?? "circle";
  return along.flatMap((at, k) => {
    if (!isShown(x, at) || !isShown(y, values[k])) return [];
    const colour = (Array.isArray(marker.color) ? marker.color[k] : marker.color) ?? line?.color;
    const open = symbol.endsWith("-open") || ["x", "cross"].includes(symbol);
    const look = open ? { fill: "none", stroke: colour, "stroke-width": marker.line?.width ?? 1.5 } : { fill: colour };
    const [left, top] = [x.to(at).toFixed(1), y.to(values[k]).toFixed(1)];
    const shape = SHAPES[symbol.replace("-open", "")];
    return [shape ? svg("path", { d: shape, transform: `translate(${left} ${top}) scale(${size / 4})`, ...look }) : svg("circle", { cx: left, cy: top, r: size, ...look })];
  });
}

function squares({ x: along, y: rows, z, zmin = 0, zmax, colorscale }, x, y) {
  return rows.flatMap((row, r) =>
    along.flatMap((_, c) => {
      if (isNone(z[r][c])) return [];
      const [left, right] = edgesOf(along, c).map(x.to);
      const [top, bottom] = [y.to(row - 0.5), y.to(row + 0.5)].sort((a, b) => a - b);
      // A hair wider, so that no line is seen between two.
      return [svg("rect", { x: left, y: top, width: right - left + 0.5, height: bottom - top + 0.5, fill: colourAt(colorscale, (z[r][c] - zmin) / (zmax - zmin)) })];
    }),
  );
}

/** The colour of a share of a scale: [[0, "#rrggbb"], ..., [1, "#rrggbb"]]. */
function colourAt(scale, share) {
  const at = Math.min(1, Math.max(0, share));
  const to = Math.max(1, scale.findIndex(([place]) => place >= at));
  const [[low, from], [high, until]] = [scale[to - 1], scale[to]];
  const part = (at - low) / (high - low);
  const mixed = [1, 3, 5].map((k) => {
    const [a, b] = [from, until].map((colour) => parseInt(colour.slice(k, k + 2), 16));
    return Math.round(a + part * (b - a));
  });
  return `rgb(${mixed.join(", ")})`;
}

// The colours of a heat map beside it, with what they stand for.
function colours({ colorscale, colorbar, zmin = 0, zmax }, x, y, id) {
  const stops = colorscale.map(([place, colour]) => svg("stop", { offset: place, "stop-color": colour }));
  const left = x.end + 10;
  const font = colorbar.tickfont;
  return [
    svg("linearGradient", { id, x1: 0, x2: 0, y1: 1, y2: 0 }, ...stops),
    svg("rect", { x: left, y: y.end, width: colorbar.thickness ?? 12, height: y.begin - y.end, fill: `url(#${id})` }),
    words(short(zmax, 2), { x: left + 16, y: y.end + 9 }, { color: x.look.tickfont.color, ...font }),
    words(short(zmin, 2), { x: left + 16, y: y.begin }, { color: x.look.tickfont.color, ...font }),
  ];
}

// A place that is a value of an axis, or a share of the room or of a chart.
function placeOf(ref, value, axis) {
  const [name, of] = (ref ?? "paper").split(" ");
  if (name === "paper") return null;
  const own = axis(`${name[0]}axis${name.slice(1)}`);
  if (!own) return NaN;
  return of === "domain" ? own.begin + value * (own.end - own.begin) : own.to(value);
}

const acrossOf = (ref, value, axis, room) => placeOf(ref, value, axis) ?? room.left + value * room.across;
const downOf = (ref, value, axis, room) => placeOf(ref, value, axis) ?? room.top + (1 - value) * room.down;

function shapeOf({ type, x0, x1, y0, y1, xref, yref, line = {}, fillcolor = "none", opacity = null }, axis, room) {
  const [left, right] = [x0, x1].map((value) => acrossOf(xref, value, axis, room));
  const [bottom, top] = [y0, y1].map((value) => downOf(yref, value, axis, room));
  if (![left, right, top, bottom].every(Number.isFinite)) return svg("g");
  const look = { stroke: line.color, "stroke-width": line.width ?? 1, "stroke-dasharray": dashOf(line), opacity };
  if (type === "line") return svg("line", { x1: left, x2: right, y1: bottom, y2: top, ...look });
  return svg("rect", { x: Math.min(left, right), y: Math.min(top, bottom), width: Math.abs(right - left), height: Math.abs(bottom - top), fill: fillcolor, ...look });
}

function noteOf({ text, x, y, xref, yref, xanchor = "center", yanchor = "middle", xshift = 0, yshift = 0, font = {}, opacity = null }, axis, room, layout) {
  const [left, top] = [acrossOf(xref, x, axis, room), downOf(yref, y, axis, room)];
  if (![left, top].every(Number.isFinite)) return svg("g");
  const lower = { top: 11, middle: 4, bottom: -3 }[yanchor] ?? 4;
  const style = { color: layout.template?.layout?.font?.color, ...font };
  const lines = plain(text).split("<br>");
  const anchor = { left: "start", right: "end" }[xanchor] ?? "middle";
  return svg("g", { opacity }, ...lines.map((line, k) => words(line, { x: left + xshift, y: top - yshift + lower + 15 * k, "text-anchor": anchor }, style)));
}
