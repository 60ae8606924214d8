// Telling the server something while the page goes away: an ordinary call would be broken off with it.

const session = Math.random().toString(36).slice(2); // Gradio wants one; the cookie says whose it is

/** Call the function `name` of the component `elementId` with `argument`; no answer comes. At most some 60 kB. */
export function lastWord(elementId, name, argument) {
  const component = window.gradio_config?.components?.find(({ props }) => props?.elem_id === elementId);
  if (!component) return;
  const body = JSON.stringify({ data: argument, component_id: component.id, fn_name: name, session_hash: session });
  navigator.sendBeacon(new URL("gradio_api/component_server", document.baseURI).href, new Blob([body], { type: "application/json" }));
}

/** Call `act` whenever the page may be about to go: it is left, reloaded, or out of sight, from where a phone ends it. */
export function whenLeaving(act) {
  window.addEventListener("pagehide", act);
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && act());
}
