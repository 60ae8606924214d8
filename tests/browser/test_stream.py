"""The page's one stream of events (``static/core/stream.js``), over answers of a server that the test plays."""

from __future__ import annotations

import pytest

from diffatlas.formats.html.bundle import STATIC

pytestmark = pytest.mark.browser

#: ``window.sent`` are the streams that were asked for: {say(text), end(), fail()}; ``window.join(event)`` asks for an
#: event, ``window.open_stream()`` reads as Gradio does, and ``window.heard`` is what it has read.
SERVER = """() => {
    window.sent = [];
    window.heard = "";
    window.broken = null;
    window.refuse = false;
    window.fetch = async (input) => {
        const url = input.url ?? input;
        if (url.includes("queue/join")) return new Response(JSON.stringify({ event_id: url.split("?")[1] }));
        if (!url.includes("queue/data")) return new Response("other");
        if (window.refuse) return new Response("", { status: 404 });
        const text = new TextEncoder();
        const stream = {};
        const body = new ReadableStream({ start(out) {
            stream.say = (words) => out.enqueue(text.encode(words));
            stream.end = () => out.close();
            stream.fail = () => out.error(new TypeError("gone"));
        }, cancel() { stream.cancelled = true; } });
        sent.push(stream);
        return new Response(body);
    };
    window.join = async (event) => (await fetch("http://a.b/gradio_api/queue/join?" + event)).json();
    window.open_stream = async () => {
        const answer = await fetch("http://a.b/gradio_api/queue/data?session_hash=x");
        if (!answer.ok) return answer.status;
        window.reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        (async () => {
            try {
                for (;;) {
                    const { done, value } = await reader.read();
                    if (done) { heard += "DONE"; break; }
                    heard += value;
                }
            } catch (error) { broken = error.message; }
        })();
        return answer.status;
    };
    window.later = () => new Promise((resolve) => setTimeout(resolve, 50));
    window.told = (event) => `data: {"msg":"process_completed","event_id":"${event}","output":"a"}\\n\\n`;
    window.CLOSE = 'data: {"msg":"close_stream"}\\n\\n';
}"""


@pytest.fixture
def page(chromium):
    context = chromium.new_context()
    page = context.new_page()
    page.evaluate(SERVER)
    page.add_script_tag(content=(STATIC / "core/stream.js").read_text(encoding="utf-8"))
    yield page
    context.close()


def played(page, script):
    return page.evaluate(f"async () => {{ {script} }}")


def test_an_event_that_was_answered_before_the_end_was_read_is_heard_of(page):
    heard, streams = played(
        page,
        """await join("a1"); await open_stream();
        sent[0].say(told("a1") + CLOSE);
        await join("b2");
        sent[0].end();
        await later();
        sent[1].say(told("b2") + CLOSE); sent[1].end();
        await later();
        return [heard, sent.length];""",
    )
    assert heard == 'data: {"msg":"process_completed","event_id":"a1","output":"a"}\n\n' + (
        'data: {"msg":"process_completed","event_id":"b2","output":"a"}\n\n'
    )
    assert streams == 2


def test_no_stream_is_read_while_no_event_is_under_way_and_one_with_the_next(page):
    idle, streams, heard = played(
        page,
        """await join("a1"); await open_stream();
        sent[0].say(told("a1") + CLOSE); sent[0].end();
        await later();
        const idle = sent.length;
        await join("b2"); await join("c3");
        await later();
        sent[1].say(told("c3")); sent[1].say(told("b2") + CLOSE); sent[1].end();
        await later();
        return [idle, sent.length, heard.split("\\n\\n").length];""",
    )
    assert (idle, streams, heard) == (1, 2, 4)


def test_an_event_may_end_before_it_is_answered(page):
    streams = played(
        page,
        """await join("a1"); await open_stream();
        sent[0].say(told("b2") + told("a1") + CLOSE); sent[0].end();
        await later();
        await join("b2");
        await later();
        return sent.length;""",
    )
    assert streams == 1


def test_a_message_may_come_in_pieces_and_only_the_end_is_kept_back(page):
    heard = played(
        page,
        """await join("a1"); await open_stream();
        const value = 'data: {"msg":"process_generating","event_id":"a1","output":"close_stream é"}\\n\\n';
        const all = value + told("a1");
        for (let at = 0; at < all.length; at += 7) { sent[0].say(all.slice(at, at + 7)); await later(); }
        sent[0].say(CLOSE); sent[0].end();
        await later();
        return heard === all;""",
    )
    assert heard


def test_after_an_error_that_ends_all_events_no_other_stream_is_asked_for(page):
    heard, streams = played(
        page,
        """await join("a1"); await open_stream();
        sent[0].say('data: {"msg":"unexpected_error","event_id":null,"message":"404"}\\n\\n'); sent[0].end();
        await later();
        return [heard, sent.length];""",
    )
    assert '"unexpected_error"' in heard
    assert streams == 1


def test_a_server_that_ends_its_streams_at_once_is_not_asked_without_a_pause(page):
    soon, late = played(
        page,
        """await join("a1"); await open_stream();
        const ending = setInterval(() => sent.at(-1).end(), 5);
        await later();
        const soon = sent.length;
        await new Promise((resolve) => setTimeout(resolve, 1500));
        clearInterval(ending);
        return [soon, sent.length];""",
    )
    assert (soon, late) == (1, 2)


def test_a_stream_that_breaks_off_breaks_off_for_gradio(page):
    broken, streams, again = played(
        page,
        """await join("a1"); await open_stream();
        sent[0].fail();
        await later();
        const first = broken;
        await open_stream();
        await join("b2");
        refuse = true;
        sent[1].say('data: {"msg":"heartbeat","event_id":null}\\n\\n'); sent[1].end();
        await later();
        return [first, sent.length, broken];""",
    )
    assert broken == "gone"
    assert streams == 2
    assert "refused (404)" in again


def test_what_is_refused_at_first_is_seen_and_what_gradio_lets_go_of_is_let_go(page):
    status, cancelled, other = played(
        page,
        """refuse = true;
        const status = await open_stream();
        refuse = false;
        await join("a1"); await open_stream();
        await reader.cancel();
        await later();
        const other = await (await fetch("http://a.b/gradio_api/info")).text();
        return [status, sent[0].cancelled, other];""",
    )
    assert (status, cancelled, other) == (404, True, "other")
