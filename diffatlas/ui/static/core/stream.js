
// Stands in the page itself. One stream of what happens to a tab's events, for as long as Gradio reads it.
//
// The server ends its stream when no event of the tab is left, and Gradio asks for another with the next event, unless it
// takes the old one for open: it does where the event was answered before the end was read, and then never hears of that
// event. So Gradio reads a stream that does not end, and the server's are read here: one at a time, from the first event
// that is under way to the end of the last.
(() => {
  const AGAIN = 1000; // ms after which a stream that said nothing is asked for again
  const fetched = window.fetch;
  const under = new Set(); // events that were answered and have not ended
  const early = new Set(); // events that have ended, and were not answered yet
  let line = null; // what Gradio reads

  window.fetch = async (input, init) => {
    const path = new URL(input.url ?? input, document.baseURI).pathname;
    if (path.endsWith("/queue/data")) return listen(new Request(input, init));
    const answer = await fetched.call(window, input, init);
    if (path.endsWith("/queue/join") && answer.ok) await joined(answer.clone());
    return answer;
  };

  async function joined(answer) {
    const { event_id: event } = await answer.json().catch(() => ({}));
    if (!event || early.delete(event)) return;
    under.add(event);
    if (line && !line.reading) again(line);
  }

  // Raises what fetching raises; an answer that is none is passed on.
  async function listen(request) {
    const { url, headers, credentials } = request;
    const mine = { ask: () => fetched.call(window, url, { headers, credentials }), reading: true, reader: null, out: null };
    const answer = await mine.ask();
    if (!answer.ok) return answer;
    const body = new ReadableStream({
      start(out) {
        mine.out = out;
      },
      cancel() {
        if (line === mine) line = null;
        mine.reader?.cancel();
      },
    });
    line = mine;
    read(mine, answer);
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  async function again(mine) {
    mine.reading = true;
    try {
      const answer = await mine.ask();
      if (!answer.ok) throw new TypeError(`The stream of events was refused (${answer.status}).`);
      await read(mine, answer);
    } catch (error) {
      fail(mine, error);
    }
  }

  async function read(mine, answer) {
    const encoder = new TextEncoder();
    let rest = "";
    let silent = true;
    try {
      mine.reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await mine.reader.read();
        if (done) break;
        silent = false;
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        const told = parts.filter(heard);
        if (told.length && line === mine) mine.out.enqueue(encoder.encode(told.map((part) => `${part}\n\n`).join("")));
      }
    } catch (error) {
      fail(mine, error);
      return;
    }
    if (silent) await new Promise((resolve) => setTimeout(resolve, AGAIN));
    mine.reading = false;
    if (under.size && line === mine) again(mine);
  }

  /** Note what a message says of its event; whether it is for Gradio. */
  function heard(part) {
    // A value can be large, and these two come first.
    const [, message, event] = part.match(/^data: \{"msg":"(\w+)"(?:,"event_id":"(\w+)")?/) ?? [];
    if (message === "process_completed" && event && !under.delete(event)) early.add(event);
    // Gradio ends all events with it.
    if (message === "unexpected_error") under.clear();
    return message !== "close_stream";
  }

  function fail(mine, error) {
    mine.reading = false;
    if (line !== mine) return;
    line = null;
    under.clear();
    mine.out.error(error);
  }
})();
