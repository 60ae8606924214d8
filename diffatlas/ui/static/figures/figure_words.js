// What a figure's JSON holds, as the page reads it.

/** Whether a value is not known. */
export const isNone = (value) => value === null || value === undefined;

/** Words as they were before they were written for plotly.js. */
export function plain(text) {
  return text.replace(/^<b>|<\/b>$/g, "").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}
