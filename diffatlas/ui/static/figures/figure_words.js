// What a figure's JSON holds, as the page reads it.

/** Whether a value is not known. */
export const isNone = (value) => value === null || value === undefined;

/** Where the k-th square of a heat map begins and ends: half way to its neighbours, which may lie apart by more than one, as
 * the steps do of which attention was captured; at either end of the axis half a step. */
export const edgesOf = (places, k) => [
  k ? (places[k - 1] + places[k]) / 2 : places[0] - 0.5,
  k < places.length - 1 ? (places[k] + places[k + 1]) / 2 : places[k] + 0.5,
];

/** Words as they were before they were written for plotly.js. */
export function plain(text) {
  return text.replace(/^<b>|<\/b>$/g, "").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}
