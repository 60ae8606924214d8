// Stands in the page itself. Light or dark as it was chosen, from the first paint on; else as the system is.
(() => {
  const KEY = "diffatlas-look";
  const LOOKS = ["light", "dark", "system"];
  const system = matchMedia("(prefers-color-scheme: dark)");
  let look = new URLSearchParams(location.search).has("__theme") ? "system" : kept();

  function kept() {
    try {
      const found = localStorage.getItem(KEY);
      return LOOKS.includes(found) ? found : "system";
    } catch {
      return "system";
    }
  }

  function draw(dark) {
    if (document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
  }

  // Gradio draws the system's look when it begins and when that changes.
  function begin() {
    const keep = () => look !== "system" && draw(look === "dark");
    new MutationObserver(keep).observe(document.body, { attributeFilter: ["class"] });
    keep();
  }

  window.diffatlasLook = {
    read: () => look,
    choose(next) {
      look = next;
      draw(next === "system" ? system.matches : next === "dark");
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // A browser that keeps nothing begins anew at each visit.
      }
      window.dispatchEvent(new Event("diffatlas-look"));
    },
  };

  if (document.body) begin();
  else {
    const waiting = new MutationObserver(() => {
      if (!document.body) return;
      waiting.disconnect();
      begin();
    });
    waiting.observe(document.documentElement, { childList: true });
  }
})();
