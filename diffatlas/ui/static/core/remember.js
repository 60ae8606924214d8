// Small choices, such as the view, that a tab keeps over a reload.

/** Keep a choice for this tab. */
export function remember(name, text) {
  try {
    sessionStorage.setItem(`diffatlas-${name}`, text);
  } catch {
    // A browser that keeps nothing begins anew at each visit.
  }
}

/** The choice that was kept, where it is one of `allowed`. */
export function remembered(name, allowed, otherwise) {
  try {
    const text = sessionStorage.getItem(`diffatlas-${name}`);
    return text === null || (allowed && !allowed.includes(text)) ? otherwise : text;
  } catch {
    return otherwise;
  }
}
