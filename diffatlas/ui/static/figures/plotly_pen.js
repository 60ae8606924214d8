// Drawing a figure's JSON with plotly.js.

import { plotly } from "./plotly_script.js";

/** Create the pen of a figure in `stage`; `place()` is called when it has drawn, and as one zooms. */
export function createPlotlyPen(stage, place) {
  let library = null;
  let telling = false; // whether plotly.js tells when it has drawn

  async function load() {
    library ??= await plotly();
  }

  async function draw(traces, layout, config) {
    await library.react(stage, traces, layout, { ...config, displayModeBar: false, responsive: false, doubleClick: false });
    if (!telling) for (const event of ["plotly_afterplot", "plotly_relayout"]) stage.on(event, place);
    telling = true;
  }

  /** The size of the drawing and the room of its charts, in px, or null before anything is drawn. */
  function room() {
    const full = stage._fullLayout;
    if (!full) return null;
    const { width, height, _size: size } = full;
    return { width, height, left: size.l, top: size.t, across: size.w, down: size.h };
  }

  /** What turns the values of an axis into px and back, or null where nothing is drawn on it. */
  function axis(name) {
    const own = stage._fullLayout[name];
    return own?._length ? { to: (value) => own._offset + own.d2p(value), back: (pixel) => own.p2d(pixel - own._offset) } : null;
  }

  const axesOf = (full) => Object.keys(full).filter((name) => /^[xy]axis\d*$/.test(name));

  /** Whether another part of an axis is in sight than the layout says. */
  function isZoomed(layout) {
    const full = stage._fullLayout;
    return axesOf(full).some((name) => {
      const { range } = layout[name] ?? {};
      return range ? range.some((end, k) => Math.abs(end - full[name].range[k]) > 1e-6 * Math.abs(range[1] - range[0])) : full[name].autorange === false;
    });
  }

  /** Show all of it again. */
  function unzoom(layout) {
    const back = (name) => (layout[name]?.range ? [`${name}.range`, [...layout[name].range]] : [`${name}.autorange`, true]);
    return library.relayout(stage, Object.fromEntries(axesOf(stage._fullLayout).map(back)));
  }

  const hide = (numbers, shown) => library.restyle(stage, { visible: shown }, numbers);
  const widen = (width) => library.relayout(stage, { width });
  const save = (data, layout, config, format, width) => library.downloadImage({ data, layout, config }, { format, width, height: layout.height, filename: layout.meta.figure, scale: format === "png" ? 2 : 1 });

  return { load, draw, room, axis, isZoomed, unzoom, hide, widen, save };
}
