// Files that somebody chooses or drops: one, or a folder with all that is in it.

const MOST_FILES = 20000;
const TOO_MANY = `More than ${MOST_FILES.toLocaleString("en-GB")} files: choose the folder of one run.`;

/** The files of an `<input type=file>`, of one or of a folder, as a promise of [{path, file}]. */
export function filesOfInput(input) {
  const files = [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  return files.length > MOST_FILES ? Promise.reject(new Error(TOO_MANY)) : Promise.resolve(files);
}

/** The same of what was dropped. To be called while the event is handled: what was dropped is gone afterwards. */
async function filesOfDrop(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  // Entries of folders cannot be read on a page from the disk in Chromium, handles can; other browsers have no handles.
  const asked = items.map((item) => {
    const entry = item.webkitGetAsEntry?.();
    if (!entry?.isDirectory) return item.getAsFile();
    return item.getAsFileSystemHandle ? item.getAsFileSystemHandle() : entry;
  });
  const found = [];
  const take = (path, file) => {
    if (found.push({ path, file }) > MOST_FILES) throw new Error(TOO_MANY);
  };
  for (const one of asked) {
    const dropped = await one;
    if (dropped instanceof File) take(dropped.name, dropped);
    else if (dropped) await (dropped.createReader ? walkEntry : walkHandle)(dropped, dropped.name, take);
  }
  return found;
}

async function walkHandle(folder, path, take) {
  for await (const handle of folder.values()) {
    const name = `${path}/${handle.name}`;
    if (handle.kind === "directory") await walkHandle(handle, name, take);
    else take(name, await handle.getFile());
  }
}

async function walkEntry(folder, path, take) {
  const reader = folder.createReader();
  // It gives a hundred at a time.
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const entry of some) {
      const name = `${path}/${entry.name}`;
      if (entry.isDirectory) await walkEntry(entry, name, take);
      else take(name, await new Promise((resolve, reject) => entry.file(resolve, reject)));
    }
  }
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
