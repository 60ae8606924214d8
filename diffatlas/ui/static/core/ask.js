// Asking the server: an answer, or an error whose message is a sentence for the page.

const SILENT = "The server did not answer; try again.";

/** Call `server[name](argument)`. Throws an Error to be shown as it is, for a refusal as for a lost connection. */
export async function ask(server, name, argument) {
  let answer;
  try {
    answer = await server[name](argument);
  } catch (error) {
    console.warn(name, error);
    throw new Error(SILENT);
  }
  if (!answer) throw new Error(SILENT);
  if (answer.error && !("steps" in answer)) throw Object.assign(new Error(answer.error.message), { field: answer.error.field ?? null, anyway: answer.error.anyway ?? false });
  return answer;
}
