// Files that somebody chooses or drops: one, or a folder with all that is in it.

const MOST_FILES = 20000;
const TOO_MANY = `More than ${MOST_FILES.toLocaleString("en-GB")} files: choose the folder of one run.`;

/** The files of an `<input type=file>`, of one or of a folder, as a promise of [{path, file}]. */
export function filesOfInput(input) {
  const files = [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  return files.length > MOST_FILES ? Promise.reject(new Error(TOO_MANY)) : Promise.resolve(files);
}

/** The same of what was dropped. To be called while the event is handled: what was dropped is gone afterwards. */
export async function filesOfDrop(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  const take = (path, file) => {
    if (found.push({ path, file }) > MOST_FILES) throw new Error(TOO_MANY);
  };
  async function walk(entry, above) {
    if (entry instanceof File) return take(entry.name, entry);
    const path = above + entry.name;
    if (entry.isFile) return take(path, await new Promise((resolve, reject) => entry.file(resolve, reject)));
    const reader = entry.createReader();
    // It gives a hundred at a time.
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return null;
      for (const one of some) await walk(one, `${path}/`);
    }
  }
  for (const entry of entries.filter(Boolean)) await walk(entry, "");
  return found;
}

/** Let files be dropped on `node`: `onFiles(promise of [{path, file}])`. It has the class da-drop-here meanwhile. */
export function takeDrops(node, onFiles) {
  let inside = 0;
  const brings = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (by) => node.classList.toggle("da-drop-here", (inside = Math.max(0, inside + by)) > 0);
  node.addEventListener("dragenter", (event) => brings(event) && mark(1));
  node.addEventListener("dragleave", (event) => brings(event) && mark(-1));
  // Without it the browser would open the file in the page's place.
  node.addEventListener("dragover", (event) => brings(event) && event.preventDefault());
  node.addEventListener("drop", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    mark(-inside);
    const files = filesOfDrop(event.dataTransfer);
    files.catch(() => {}); // told by whoever takes them
    onFiles(files);
  });
}
