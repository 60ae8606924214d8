
// Stands in the page itself, and runs before the modules have come: what a visitor does meanwhile is theirs, and kept.

// The cookie by which the server knows whose runs these are: 128 random bits. A run that began without it would be
// nobody's once the page has it.
(() => {
  const NAME = "diffatlas_visitor";
  const YEAR = 365 * 24 * 3600;
  if (new RegExp(`(^|; )${NAME}=[0-9a-f]{32}(;|$)`).test(document.cookie)) return;
  const bits = crypto.getRandomValues(new Uint8Array(16));
  const secret = Array.from(bits, (byte) => byte.toString(16).padStart(2, "0")).join("");
  // A Space is shown in a frame of another site, where only such a cookie is kept.
  const reach = location.protocol === "https:" ? "SameSite=None; Secure; Partitioned" : "SameSite=Lax";
  document.cookie = `${NAME}=${secret}; Path=/; Max-Age=${YEAR}; ${reach}`;
})();

// The page of the address is in sight at once, and that of a click on the navigation, which is kept for pages.js.
(() => {
  const PAGES = ["trajectory", "sweep", "neighbourhood", "attention", "bench", "lab", "library", "settings"];

  function show(name) {
    if (PAGES.includes(name) && document.body) document.body.dataset.page = name;
  }

  show(new URLSearchParams(location.search).get("page"));
  addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest(".da-nav button[data-page]");
    if (!button || window.diffatlasEarly === null) return;
    window.diffatlasEarly = button.dataset.page;
    const all = document.querySelectorAll(".da-nav button[data-page]");
    for (const each of all) each.toggleAttribute("aria-current", each === button);
    show(button.dataset.page);
  }, true);
})();
