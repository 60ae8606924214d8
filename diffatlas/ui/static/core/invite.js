// The address of this page as a QR code, large: to project, to print, to hold a phone before.

import { ask } from "./ask.js";
import { createDialog } from "./dialog.js";
import { el, svg, whenThere } from "./dom.js";
import { copy } from "./pages.js";

// The names by which a machine calls itself: nobody else gets anywhere by them.
const OWN = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\]|0\.0\.0\.0)$/;

let begun = false;

/** Show the button in the header where others can come here; `server` has invitation. The first call counts. */
export function initInvite(server) {
  if (begun) return;
  begun = true;
  whenThere(".da-invite-open", async (button) => {
    let view = null;
    button.addEventListener("click", async () => (view ??= createView(server)).open());
    // Who came from elsewhere shows that one can; who is at the machine itself has to ask.
    if (!OWN.test(location.hostname)) button.hidden = false;
    else button.hidden = !(await invitation(server).catch(() => null))?.address;
  });
}

const invitation = (server) => ask(server, "invitation", { page: location.origin + location.pathname });

function createView(server) {
  const { dialog, title, acts, body, open } = createDialog("da-invite");
  title.textContent = "Come and join";
  const print = el("button", { type: "button", class: "da-button", onclick: () => window.print() }, "Print");
  const copied = el("button", { type: "button", class: "da-button", "aria-live": "polite" }, "Copy address");
  acts.append(copied, print);
  let address = "";
  copied.addEventListener("click", async () => {
    copied.textContent = (await copy(address, copied)) ? "Copied" : "Not copied";
    setTimeout(() => (copied.textContent = "Copy address"), 2000);
  });

  async function show() {
    open();
    if (address) return;
    for (const act of [copied, print]) act.disabled = true;
    body.replaceChildren(el("p", { class: "da-invite-words" }, "Looking for the address…"));
    try {
      const told = await invitation(server);
      address = told.address;
      body.replaceChildren(...(address ? [drawn(told), el("p", { class: "da-invite-address" }, address)] : []), el("p", { class: "da-invite-words" }, told.words), ...(told.warning ? [el("p", { class: "da-invite-words da-invite-warning" }, told.warning)] : []));
      for (const act of [copied, print]) act.disabled = !address;
    } catch (error) {
      body.replaceChildren(el("p", { class: "da-invite-words", role: "alert" }, error.message));
    }
  }

  return { dialog, open: show };
}

function drawn({ address, size, path }) {
  const name = `QR code of ${address}`;
  return svg("svg", { class: "da-invite-code", viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": name, "shape-rendering": "crispEdges" }, svg("rect", { width: size, height: size, class: "da-invite-light" }), svg("path", { d: path, class: "da-invite-dark" }));
}
