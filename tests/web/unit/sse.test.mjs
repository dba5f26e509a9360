// SPDX-License-Identifier: Apache-2.0
// The parser of event streams: what the standard says, and the same events however the stream is cut.

import assert from "node:assert/strict";
import { test } from "node:test";
import { events, SseParser } from "../../../web/sse.js";

const all = (...pieces) => {
    const parser = new SseParser();
    return pieces.flatMap((p) => parser.push(p));
};
const data = (...pieces) => all(...pieces).map((e) => e.data);

test("one event a blank line", () => assert.deepEqual(data("data: a\n\ndata: b\n\n"), ["a", "b"]));
test("lines of data are joined", () => assert.deepEqual(data("data: a\ndata:b\ndata:\ndata\n\n"), ["a\nb\n\n"]));
test("one space behind the colon goes, no more", () => assert.deepEqual(data("data:  a\n\n"), [" a"]));
test("comments, ids and unknown fields say nothing", () =>
    assert.deepEqual(data(": ping\n\nid: 1\nretry: 9\nx\n\ndata: a\n\n"), ["a"]));
test("names of events", () =>
    assert.deepEqual(all("event: e\ndata: a\n\ndata: b\n\n"), [
        { event: "e", data: "a" },
        { event: "message", data: "b" },
    ]));
test("an event without data is none", () =>
    assert.deepEqual(all("event: e\n\ndata: a\n\n"), [{ event: "message", data: "a" }]));
test("what is not ended is not told", () => assert.deepEqual(data("data: a\n\ndata: b\n"), ["a"]));
test("a byte order mark", () => assert.deepEqual(data("\ufeffdata: a\n\n"), ["a"]));
test("all three ends of lines", () => assert.deepEqual(data("data: a\r\n\r\ndata: b\r\rdata: c\n\n"), ["a", "b", "c"]));

test("however it is cut", () => {
    const stream = ': hello\r\n\r\ndata: {"a":1}\r\n\r\nevent: x\ndata: ä€😀\ndata: 2\n\ndata: [DONE]\r\r';
    const whole = all(stream);
    assert.equal(whole.length, 3);
    for (let i = 0; i <= stream.length; i++)
        for (let k = i; k <= stream.length; k += 7)
            assert.deepEqual(all(stream.slice(0, i), stream.slice(i, k), stream.slice(k)), whole);
    assert.deepEqual(all(...Array.from({ length: stream.length }, (_, i) => stream[i])), whole);
});

test("bytes cut within a character", async () => {
    const bytes = new TextEncoder().encode("data: ä€😀\n\n");
    const body = new ReadableStream({
        start(c) {
            for (const b of bytes) c.enqueue(Uint8Array.of(b));
            c.close();
        },
    });
    const got = [];
    for await (const e of events(body)) got.push(e.data);
    assert.deepEqual(got, ["ä€😀"]);
});

test("who stops listening hangs up", async () => {
    let cancelled = false;
    const body = new ReadableStream({
        pull: (c) => c.enqueue(new TextEncoder().encode("data: a\n\n")),
        cancel: () => {
            cancelled = true;
        },
    });
    for await (const e of events(body)) {
        assert.equal(e.data, "a");
        break;
    }
    assert.ok(cancelled);
});

test("a line that never ends is refused", () => {
    const parser = new SseParser();
    assert.throws(() => {
        for (let i = 0; i < 100; i++) parser.push("x".repeat(1 << 16));
    }, /too long/);
});
