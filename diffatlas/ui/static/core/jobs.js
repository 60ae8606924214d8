// Work of the server that takes a while: asked after until it is done.

const EVERY = 500; // ms
const LOST = 8; // answers in a row that may fail to come

/** Ask `server[name]({job})` every half second until `ended(state)`, and return that state.
 *
 * `onState(state)` is told of each. Throws an Error to be shown as it is.
 */
export async function follow(server, name, job, { ended, onState = () => {} }) {
  let missed = 0;
  for (;;) {
    let state = null;
    try {
      state = await server[name]({ job });
      missed = 0;
    } catch (error) {
      console.warn(name, error);
    }
    if (state?.error) throw new Error(state.error.message);
    if (state) {
      onState(state);
      if (ended(state)) return state;
    } else if (++missed >= LOST) {
      throw new Error("The server does not answer any more. What it was doing may have ended well: look again later.");
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

export const followJob = (server, job, onState) => follow(server, "job", job, { ended: ({ done }) => done, onState });
