// Sending a file to the server, for a question that names it.

/** Send a Blob under a name; a promise of what the server calls it. Throws an Error to be shown as it is. */
export async function upload(blob, name) {
  const form = new FormData();
  form.append("files", blob, name);
  let answer;
  try {
    answer = await fetch(new URL("gradio_api/upload", document.baseURI), { method: "POST", body: form });
  } catch (error) {
    console.warn("upload", error);
    throw new Error("The file could not be sent: it has changed since it was chosen, or the server does not answer. Choose it again.");
  }
  if (!answer.ok) {
    // A sentence of ours, or whatever stands between says in a page.
    const said = (await answer.text()).trim();
    throw new Error(said && said.length < 300 && !said.startsWith("<") ? said : `The server did not take the file (${answer.status}).`);
  }
  return (await answer.json())[0];
}
