// SPDX-License-Identifier: Apache-2.0
// The other parts that need no browser: storage, requests, errors of the server, the heat map's numbers, what is said aloud.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { next } from "../../../web/announce.js";
import { Server } from "../../../web/api.js";
import { busiest, describe, Heat, strength } from "../../../web/heatmap.js";
import { requestOf, Store, titleOf } from "../../../web/store.js";

class FakeStorage {
    items = new Map();
    full = false;
    get length() {
        return this.items.size;
    }
    key(i) {
        return [...this.items.keys()][i] ?? null;
    }
    getItem(key) {
        return this.items.get(key) ?? null;
    }
    setItem(key, value) {
        if (this.full) throw new DOMException("full", "QuotaExceededError");
        this.items.set(key, String(value));
    }
    removeItem(key) {
        this.items.delete(key);
    }
}

test("conversations are kept, listed with the latest first, and removed", () => {
    const store = new Store(new FakeStorage(), new FakeStorage());
    const [a, b] = [store.newChat(), store.newChat()];
    a.messages.push(
        { role: "user", content: "hello" },
        { role: "assistant", content: "hi", reasoning: "hm", state: "stopped", figures: "1 token" },
    );
    b.updated = a.updated + 1;
    assert.ok(store.save(a) && store.save(b));
    assert.deepEqual(store.load(a.id), a);
    assert.deepEqual(
        store.list().map((h) => h.id),
        [b.id, a.id],
    );
    store.remove(b.id);
    assert.deepEqual(
        store.list().map((h) => h.id),
        [a.id],
    );
});

test("what others wrote into the storage does no harm", () => {
    const local = new FakeStorage();
    const store = new Store(local, null);
    local.setItem("medley.chat.1", "{");
    local.setItem("medley.chat.2", "null");
    local.setItem("medley.chat.3", '{"id":"9","title":"t","messages":[]}');
    local.setItem(
        "medley.chat.4",
        '{"id":"4","title":"t","messages":[{"role":"system","content":"x"},{"role":"user"},null,{"role":"user","content":"ok","state":"<b>"}]}',
    );
    local.setItem("other", "1");
    assert.deepEqual(
        store.list().map((h) => h.id),
        ["4"],
    );
    assert.deepEqual(store.load("4").messages, [{ role: "user", content: "ok" }]);
    local.setItem("medley.settings", '{"system":5,"top_p":"zz","seed":"7"}');
    assert.deepEqual([store.settings().system, store.settings().top_p, store.settings().seed], ["", "", "7"]);
});

test("a full or missing storage is told", () => {
    const local = new FakeStorage();
    local.full = true;
    assert.equal(new Store(local, null).save({ id: "1" }), false);
    const none = new Store(null, null);
    assert.equal(none.save({ id: "1" }), false);
    assert.deepEqual(none.list(), []);
    assert.equal(none.key, "");
});

test("the API key goes into the session's storage alone", () => {
    const [local, session] = [new FakeStorage(), new FakeStorage()];
    const store = new Store(local, session);
    store.key = "secret";
    assert.equal(store.key, "secret");
    assert.equal(local.length, 0);
    store.key = "";
    assert.equal(session.length, 0);
});

test("names of conversations", () => {
    assert.equal(titleOf("\n a b \n c"), "a b");
    assert.equal(titleOf("  "), "New chat");
    assert.equal(Array.from(titleOf("😀".repeat(60))).length, 48);
});

test("a request has what is set, and nothing else", () => {
    const settings = new Store(null, null).settings();
    const chat = {
        messages: [
            { role: "user", content: "a", state: "x" },
            { role: "assistant", content: "" },
            { role: "assistant", content: "b", reasoning: "r" },
        ],
    };
    assert.deepEqual(requestOf(chat, settings), {
        messages: [
            { role: "user", content: "a" },
            { role: "assistant", content: "b" },
        ],
    });
    const request = requestOf(chat, { ...settings, system: "s", temperature: "0", seed: "5" });
    assert.deepEqual(request.messages[0], { role: "system", content: "s" });
    assert.deepEqual([request.temperature, request.seed, request.top_p], [0, 5, undefined]);
});

// ---- the server's answers ----

const asked = [];
const serverSaying = (response) =>
    new Server(
        () => "k",
        async (path, options) => (asked.push({ path, options }), response()),
    );
const stream = (...chunks) =>
    new Response(chunks.map((c) => `data: ${typeof c === "string" ? c : JSON.stringify(c)}\n\n`).join(""));
const delta = (d, finish_reason = null) => ({ choices: [{ index: 0, delta: d, finish_reason }] });

async function chat(response) {
    const pieces = [];
    for await (const p of serverSaying(response).chat({ messages: [] }, new AbortController().signal)) pieces.push(p);
    return pieces;
}

test("an answer comes in pieces", async () => {
    const usage = { prompt_tokens: 1, completion_tokens: 2 };
    const pieces = await chat(() =>
        stream(
            delta({ role: "assistant", content: "" }),
            delta({ reasoning_content: "r" }),
            delta({ content: "c" }),
            delta({}, "stop"),
            { choices: [], usage },
            "[DONE]",
        ),
    );
    assert.deepEqual(pieces, [{ content: "" }, { reasoning: "r" }, { content: "c" }, { finish: "stop" }, { usage }]);
    const { path, options } = asked.at(-1);
    assert.equal(path, "v1/chat/completions");
    assert.equal(options.headers.authorization, "Bearer k");
    assert.equal(JSON.parse(options.body).stream, true);
});

test("failures are told in sentences, by kind", async () => {
    const error = (message, status, headers) => new Response(JSON.stringify({ error: { message } }), { status, headers });
    const cases = [
        [() => Promise.reject(new TypeError("failed to fetch")), "away", /cannot be reached/],
        [() => stream(delta({ content: "a" })), "away", /broke off/],
        [() => stream(delta({ content: "a" }), { error: { message: "no room" } }), "refused", /no room/],
        [() => stream("{"), "refused", /no JSON/],
        [() => error("bad key", 401), "key", /bad key.*settings/],
        [() => error("full", 429, { "retry-after": "3" }), "busy", /full Try again in 3 s/],
        [() => error("'top_p' must be", 400), "refused", /top_p/],
        [() => new Response("<html>", { status: 502 }), "away", /cannot be reached/],
        [() => new Response("<html>", { status: 500 }), "refused", /status 500/],
    ];
    for (const [response, kind, message] of cases)
        await assert.rejects(chat(response), (e) => e.kind === kind && message.test(e.message));
});

// ---- the heat map ----

test("counts become multiples of an even share, fade, and stay", () => {
    const heat = new Heat();
    assert.ok(heat.add([{ layer: 3, experts: [3, 1, 0, 0] }], 0.25));
    const [row] = heat.rows("now");
    assert.deepEqual(row, { layer: 3, used: 2, total: 4, share: [3, 1, 0, 0] });
    heat.add([{ layer: 3, experts: [0, 0, 0, 1] }], 1.5);
    assert.deepEqual(heat.rows("now")[0].share, [2, 2 / 3, 0, 4 / 3]);
    assert.deepEqual(heat.rows("all")[0].share, [2.4, 0.8, 0, 0.8]);
    assert.equal(heat.glow, 1);
    heat.add([{ layer: 3, experts: [0, 0, 0, 0] }], 1.5);
    assert.equal(heat.glow, 0.5);
    for (let i = 0; i < 6; i++) heat.add([{ layer: 3, experts: [0, 0, 0, 0] }], 1);
    assert.equal(heat.rows("now")[0].total, 0);
    assert.equal(heat.add([{ layer: 3, experts: [0, 0, 0, 0] }], 1), false);
    assert.equal(heat.rows("all")[0].total, 5);
    heat.reset();
    assert.equal(heat.rows("all")[0].total, 0);
});

test("another model's layers, or none, begin anew", () => {
    const heat = new Heat();
    heat.add([{ layer: 0, experts: [1, 1] }], 1);
    heat.add([{ layer: 0, experts: [1, 1, 1] }], 1);
    assert.equal(heat.rows("all")[0].total, 3);
    for (const nonsense of [undefined, null, 5, [null], [{ layer: "x", experts: [1] }], [{ layer: 0, experts: [] }]]) {
        heat.add(nonsense, NaN);
        assert.deepEqual(heat.layers, []);
    }
    heat.add([{ layer: 0, experts: [-1, "<b>", 2] }], 1);
    assert.deepEqual(heat.rows("all")[0].share, [0, 0, 3]);
});

test("the picture in words", () => {
    const heat = new Heat();
    assert.match(describe(heat.rows("now")), /0 layers/);
    heat.add(
        [
            { layer: 1, experts: [1, 1, 1, 1] },
            { layer: 2, experts: [0, 3, 0, 1] },
        ],
        1,
    );
    assert.match(
        describe(heat.rows("now")),
        /2 layers of 4 experts: 75 % of them in use; the most used is expert 1 of layer 2, with 75 %/,
    );
    assert.deepEqual(busiest(heat.rows("now")[1], 5), [
        { expert: 1, percent: 75 },
        { expert: 3, percent: 25 },
    ]);
    assert.deepEqual([strength(0), strength(1), strength(4), strength(9)], [0, 0.5, 1, 1]);
});

// ---- what is said aloud ----

test("sentences are said once they are whole", () => {
    assert.deepEqual(next("Hello wor", 0, false), { say: "", to: 0 });
    assert.deepEqual(next("Hello **world**. And", 0, false), { say: "Hello world.", to: 16 });
    assert.deepEqual(next("Hello world. And", 12, true), { say: "And", to: 16 });
    assert.deepEqual(next("pi is 3.14 or", 0, false), { say: "", to: 0 });
});

test("code is said as its length, when it is whole", () => {
    const text = "Look.\n```c\nint a;\nint b;\n";
    assert.deepEqual(next(text, 0, false), { say: "Look.", to: 6 });
    assert.equal(next(text + "```\n", 6, false).say, "Code of 2 lines.");
    assert.equal(next(text, 6, true).say, "Code of 2 lines.");
});

// ---- the sources ----

test("no source makes markup or code of text, or asks another server", () => {
    const web = new URL("../../../web/", import.meta.url);
    const files = readdirSync(web);
    assert.ok(files.includes("app.js"));
    for (const file of files) {
        const source = readFileSync(new URL(file, web), "utf8").replace('"http://www.w3.org/2000/svg"', "");
        assert.doesNotMatch(
            source,
            /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc/,
            file,
        );
        assert.doesNotMatch(source, /(src|href|url\(|import|fetch\()\s*=?\s*["'(]?\s*(https?:)?\/\//, file);
        if (file.endsWith(".html")) assert.doesNotMatch(source, /<script>|<style|\sstyle=|\son[a-z]+=/, file);
    }
});
