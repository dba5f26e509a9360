// SPDX-License-Identifier: Apache-2.0
// The page in a headless Chromium, against `medley serve` itself: chats, storage, the heat map, a server that goes away,
// hostile answers, keyboard, narrow windows, accessibility. Whatever a test does, the console must stay silent and nothing
// but the server may be asked.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { axe, EXPERTS, launch, LAYERS, makeModel, serve } from "./medley.mjs";

const folder = mkdtempSync(join(tmpdir(), "medley-web-"));
const model = join(folder, "m.gguf");
const SHORT = { temperature: "0", max_tokens: "24" };
const LONG = { temperature: "0" };
let browser;
let server;

before(async () => {
    makeModel(model);
    [server, browser] = await Promise.all([serve(model), launch()]);
});

after(async () => {
    await browser?.close();
    await server?.end();
    rmSync(folder, { recursive: true, force: true });
});

/** A test in a window of its own. what: {settings, expect: pattern of console messages that may come, url, ...context}. */
function look(name, what, body) {
    test(name, { timeout: 120000 }, async (t) => {
        const { settings = SHORT, expect = null, url = null, ...options } = what;
        const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
        t.after(() => context.close());
        const page = await context.newPage();
        page.setDefaultTimeout(30000);
        const bad = [];
        page.on("console", (m) => !expect?.test(m.text()) && bad.push(m.text()));
        page.on("pageerror", (e) => bad.push(e.stack));
        page.on(
            "request",
            (r) => !/^(blob|data):/.test(r.url()) && new URL(r.url()).hostname !== "127.0.0.1" && bad.push(r.url()),
        );
        await page.addInitScript(
            (s) => localStorage.getItem("medley.settings") ?? localStorage.setItem("medley.settings", s),
            JSON.stringify(settings),
        );
        await page.goto(url ?? server.url);
        await body(page, t);
        assert.deepEqual(bad, [], "the console is silent, and no other host is asked");
    });
}

const answers = (page) => page.locator("article.model > .body");
const lastFoot = (page) => page.locator("article.model .foot").last();

async function ask(page, text) {
    await page.fill("#prompt", text);
    await page.press("#prompt", "Enter");
}

/** Waits until nothing is being written; returns the last answer. */
async function answered(page) {
    await page.locator("#send").waitFor();
    await page.locator("article.model .foot button").last().waitFor();
    return answers(page).last().innerText();
}

async function until(what, check) {
    for (const end = Date.now() + 30000; Date.now() < end;) {
        if (await check()) return;
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.fail(`in vain: ${what}`);
}

// ---- chats ----

look("an answer is streamed, with its figures", { settings: LONG }, async (page) => {
    await until("the model's name", async () => (await page.textContent("#model")) === "tiny");
    await ask(page, "hi");
    assert.equal(await page.locator("article.mine .body").innerText(), "hi");
    const body = answers(page).last();
    await until("a beginning", async () => (await body.innerText()).length > 20);
    const early = (await body.innerText()).length;
    await until("more of it", async () => (await body.innerText()).length > early + 50);
    assert.equal(await page.locator("article.model").getAttribute("aria-busy"), "true");
    assert.match(await page.title(), /^hi/);
    await page.click("#stop");
    await answered(page);
});

look("two questions, one conversation", {}, async (page) => {
    const bodies = [];
    page.on("request", (r) => r.method() === "POST" && bodies.push(r.postDataJSON()));
    await ask(page, "hi");
    const first = await answered(page);
    assert.match(await lastFoot(page).innerText(), /24 tokens, [\d.]+ tokens\/s, first after [\d.]+ s.*Cut off/);
    await ask(page, "and now?");
    await until("two answers", async () => (await answers(page).count()) === 2);
    await answered(page);
    assert.deepEqual(
        bodies[1].messages.map((m) => m.role),
        ["user", "assistant", "user"],
    );
    assert.equal(bodies[1].messages[2].content, "and now?");
    assert.equal(bodies[1].temperature, 0);
    assert.ok(first.length > 0);
});

look("Escape stops an answer, and frees the server's slot", { settings: LONG }, async (page) => {
    await ask(page, "hi");
    await until("a beginning", async () => (await answers(page).innerText()).length > 20);
    const running = async () => (await (await fetch(`${server.url}slots`)).json()).jobs > 0;
    await until("a slot in use", running);
    await page.keyboard.press("Escape");
    await answered(page);
    assert.match(await lastFoot(page).innerText(), /Stopped\./);
    await until("a free slot", async () => !(await running()));
    const kept = await answers(page).innerText();
    await page.waitForTimeout(300);
    assert.equal(await answers(page).innerText(), kept);
});

look("an answer is made again, and a message is changed", {}, async (page) => {
    await ask(page, "hi");
    const first = await answered(page);
    const focused = () => page.evaluate(() => document.activeElement.id);
    await page.click("text=Regenerate");
    assert.match(await focused(), /^(stop|prompt)$/, "focus does not fall into nothing");
    assert.equal(await answered(page), first, "greedy answers are the same twice");
    await page.click('button:has-text("Edit") >> nth=0');
    await page.fill(".edit textarea", "something else");
    await page.click("text=Save and ask again");
    assert.match(await focused(), /^(stop|prompt)$/);
    await until(
        "another answer",
        async () => (await page.locator("#send").isVisible()) && (await answers(page).innerText()) !== first,
    );
    await answered(page);
    assert.deepEqual(await page.locator("article.mine .body").allInnerTexts(), ["something else"]);
    await page.locator("article.model >> text=Edit").click();
    await page.fill(".edit textarea", "my own *words*");
    await page.click(".edit >> text=Save");
    assert.equal(await answers(page).innerText(), "my own words");
});

look("a reload keeps conversations; they are renamed, exported and deleted", {}, async (page) => {
    await ask(page, "first");
    const first = await answered(page);
    await page.click("#new-chat");
    await ask(page, "second");
    await answered(page);
    await page.reload();
    await until("the second", async () => (await page.textContent("#chat-title")) === "second");
    assert.deepEqual(await page.locator("#chat-list button").allInnerTexts(), ["second", "first"]);
    await page.click("#chat-list >> text=first");
    assert.equal(await answers(page).innerText(), first);
    await page.click("#rename-chat");
    await page.fill("#rename-name", "<b>renamed</b>");
    await page.press("#rename-name", "Enter");
    await until("the new name", async () => (await page.textContent("#chat-title")) === "<b>renamed</b>");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#export-chat")]);
    const exported = JSON.parse(readFileSync(await download.path(), "utf8"));
    assert.equal(exported.conversation.messages[0].content, "first");
    assert.equal(download.suggestedFilename(), "b-renamed-b.json");
    await page.click("#delete-chat");
    await page.click("#remove >> text=Cancel");
    assert.equal(await page.locator("#chat-list button").count(), 2);
    await page.click("#delete-chat");
    await page.click("#remove-form button.main");
    await until("one left", async () => (await page.locator("#chat-list button").count()) === 1);
    await page.reload();
    assert.deepEqual(await page.locator("#chat-list button").allInnerTexts(), ["second"]);
});

look("a reload in the middle of an answer keeps what there is", { settings: LONG }, async (page) => {
    await ask(page, "hi");
    await until("a beginning", async () => (await answers(page).innerText()).length > 100);
    await page.reload();
    const kept = await answered(page);
    assert.ok(kept.length > 50);
    assert.match(await lastFoot(page).innerText(), /Broken off\./);
});

look("two conversations are answered at once", { settings: LONG }, async (page) => {
    await ask(page, "one");
    await until("a beginning", async () => (await answers(page).innerText()).length > 20);
    await page.click("#new-chat");
    await ask(page, "two");
    await until("another", async () => (await answers(page).innerText()).length > 20);
    await page.click("#stop");
    await page.click("#chat-list >> text=one");
    const early = (await answers(page).innerText()).length;
    await until("the first goes on", async () => (await answers(page).innerText()).length > early + 50);
    await page.click("#stop");
    await answered(page);
});

// ---- settings ----

look("settings are sent and kept; a refusal is told", { settings: {}, expect: /status of 400/ }, async (page) => {
    await page.click("#settings-button");
    await page.fill("#set-system", "Be brief.");
    await page.fill("#set-max-tokens", "5");
    await page.fill("#set-seed", "11");
    await page.fill("#set-key", "unneeded");
    await page.click("#settings-form button.main");
    await until("they are kept", () => page.evaluate(() => sessionStorage.length === 1));
    const [request] = await Promise.all([page.waitForRequest("**/v1/chat/completions"), ask(page, "hi")]);
    const body = request.postDataJSON();
    assert.deepEqual(body.messages[0], { role: "system", content: "Be brief." });
    assert.deepEqual([body.max_tokens, body.seed, body.temperature], [5, 11, undefined]);
    assert.equal(request.headers().authorization, "Bearer unneeded");
    await answered(page);
    const stored = await page.evaluate(() => [JSON.stringify(localStorage), JSON.stringify(sessionStorage)]);
    assert.ok(!stored[0].includes("unneeded") && stored[1].includes("unneeded"));
    await page.evaluate(() => localStorage.setItem("medley.settings", '{"temperature":"-3"}'));
    await ask(page, "more");
    await until("the refusal", async () => (await page.innerText("#alert")).includes("temperature"));
});

// ---- the live panel ----

const picture = (page) => page.evaluate(() => document.getElementById("heat").toDataURL());

look("the heat map moves while an answer is written", { settings: LONG }, async (page) => {
    await until("a connection", async () => (await page.textContent("#panel-state")) === "Connected");
    await until("words", async () => /none has been chosen/.test(await page.getAttribute("#heat", "aria-label")));
    const before = await picture(page);
    await ask(page, "hi");
    await until("a first picture", async () => (await picture(page)) !== before);
    const first = await picture(page);
    await until("a second picture", async () => (await picture(page)) !== first);
    await until(
        "figures",
        async () => Number(await page.textContent("#figure-speed")) > 0 && (await page.textContent("#figure-running")) === "1",
    );
    await until("other words", async () =>
        / in use; the most used is expert \d+ of layer \d+/.test(await page.getAttribute("#heat", "aria-label")),
    );
    await page.click("#heat-table summary");
    await until("the table", async () => (await page.locator("#heat-rows tr").count()) === LAYERS);
    assert.match(await page.innerText("#heat-rows tr >> nth=0"), new RegExp(`0\\s+\\d+ of ${EXPERTS}\\s+\\d+ \\(\\d+ %\\)`));
    await page.hover("#heat", { position: { x: 3, y: 3 } });
    assert.match(await page.textContent("#heat-cell"), /Layer 0, expert 0: /);
    await page.click("#stop");
    await until("it fades", async () => (await picture(page)) === before);
    await page.selectOption("#heat-span", "all");
    assert.notEqual(await picture(page), before);
    await page.click("#heat-reset");
    assert.equal(await picture(page), before);
});

// ---- a server that goes away ----

look(
    "a server that goes away is told, and asked again once it is back",
    { settings: LONG, expect: /Failed to load resource/ },
    async (page, t) => {
        let mine = await serve(model);
        t.after(() => mine.end("SIGKILL"));
        await page.goto(mine.url);
        await ask(page, "hi");
        await until("a beginning", async () => (await answers(page).innerText()).length > 20);
        await mine.end("SIGKILL");
        await until("the error", async () => /broke off/.test(await page.innerText("#alert")));
        assert.match(await lastFoot(page).innerText(), /Broken off\./);
        await until("the panel's word", async () => /Not connected/.test(await page.textContent("#panel-state")));
        await page.click("#alert >> text=Retry");
        await until("the second error", async () => /cannot be reached/.test(await page.innerText("#alert")));
        mine = await serve(model, "--port", mine.port);
        await until("the return", async () => /is back/.test(await page.innerText("#alert")));
        await page.click("#alert >> text=Retry");
        await until(
            "an answer",
            async () => (await answers(page).count()) === 1 && (await answers(page).innerText()).length > 20,
        );
        assert.equal(await page.innerText("#alert"), "");
        await until("the panel", async () => (await page.textContent("#panel-state")) === "Connected");
        await page.click("#stop");
        assert.equal(await page.locator("article.mine").count(), 1);
    },
);

look("a server with keys: the page comes without one, answers do not", { expect: /status of 401/ }, async (page, t) => {
    const keys = join(folder, "keys");
    writeFileSync(keys, "the-right-key\n", { mode: 0o600 });
    const mine = await serve(model, "--api-key-file", keys);
    t.after(() => mine.end("SIGKILL"));
    await page.goto(mine.url);
    await until("the refusal", async () => /API key/.test(await page.innerText("#alert")));
    await page.click("#settings-button");
    await page.fill("#set-key", "the-right-key");
    await page.click("#settings-form button.main");
    await until("the model's name", async () => (await page.textContent("#model")) === "tiny");
    await ask(page, "hi");
    await answered(page);
    await until("the panel", async () => (await page.textContent("#panel-state")) === "Connected");
});

// ---- hostile answers ----

const HOSTILE = [
    '<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>',
    "[a](javascript:window.harmed=1) [b](https://example.org/) ![c](https://example.org/steal.png)",
    '```html"onclick="window.harmed=1\n<svg onload=window.harmed=1>\n```',
    "| <img src=x onerror=window.harmed=1> | b |\n|--|--|\n| [x](data:text/html,1) | ~~y~~ |",
].join("\n\n");

function streamOf(...deltas) {
    const chunks = deltas.map((delta) => JSON.stringify({ choices: [{ index: 0, delta, finish_reason: null }] }));
    return [...chunks, "[DONE]"].map((c) => `data: ${c}\n\n`).join("");
}

look("a hostile answer stays text", {}, async (page) => {
    const body = streamOf({ reasoning_content: HOSTILE }, { content: HOSTILE });
    await page.route("**/v1/chat/completions", (route) => route.fulfill({ contentType: "text/event-stream", body }));
    await ask(page, HOSTILE);
    await answered(page);
    assert.equal(await page.locator("#messages img, #messages script, #messages svg").count(), 0);
    const links = await page.locator("#messages a").evaluateAll((all) => all.map((a) => [a.getAttribute("href"), a.rel]));
    for (const [href, rel] of links) assert.ok(href.startsWith("https://example.org/") && rel.includes("noopener"));
    assert.equal(links.length, 4);
    assert.ok((await answers(page).innerText()).includes("<script>window.harmed=1</script>"));
    assert.equal(await page.evaluate(() => window.harmed), undefined);
    assert.equal(await page.locator("details.reasoning").evaluate((d) => d.open), false);
    await page.reload();
    assert.equal(await page.locator("#messages img, #messages script").count(), 0);
    assert.equal(await page.evaluate(() => window.harmed), undefined);
});

look("the policy forbids what the page does not do", { expect: /Content Security Policy|Trusted/ }, async (page) => {
    const policy = (await page.request.get(server.url)).headers()["content-security-policy"];
    for (const rule of [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'none'",
    ])
        assert.ok(policy.includes(rule), rule);
    const outcome = await page.evaluate(async () => {
        const script = document.createElement("script");
        try {
            script.text = "window.harmed = 1";
            document.body.append(script);
        } catch {
            // trusted types
        }
        const elsewhere = await fetch("http://127.0.0.2:9/").then(
            () => "asked",
            () => "refused",
        );
        return [window.harmed, elsewhere];
    });
    assert.deepEqual(outcome, [undefined, "refused"]);
});

look("code is copied with its button", { permissions: ["clipboard-read", "clipboard-write"] }, async (page) => {
    const body = streamOf({ content: "```c\nint a;\n  int b;\n```" });
    await page.route("**/v1/chat/completions", (route) => route.fulfill({ contentType: "text/event-stream", body }));
    await ask(page, "code");
    await answered(page);
    await page.click(".code .copy");
    await until("the word", async () => (await page.textContent(".code .copy")) === "Copied");
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "int a;\n  int b;");
});

// ---- for everybody ----

look("the keyboard is enough", { settings: LONG }, async (page) => {
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
    await page.evaluate(() => {
        document.body.tabIndex = -1; // begin where the page begins
        document.body.focus();
        document.body.removeAttribute("tabindex");
    });
    await page.keyboard.press("Tab");
    assert.match(await focused(), /Skip to the message/);
    const order = [];
    for (let i = 0; i < 6; i++) {
        await page.keyboard.press("Tab");
        order.push(await focused());
    }
    assert.deepEqual(order, ["chats-button", "theme-button", "panel-button", "settings-button", "new-chat", "scroll"]);
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "prompt");
    await page.keyboard.type("one");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("two");
    await page.keyboard.press("Enter");
    await page.locator("#stop").waitFor();
    assert.equal(await page.locator("article.mine .body").innerText(), "one\ntwo");
    await until("a beginning", async () => (await answers(page).innerText()).length > 20);
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "stop");
    await page.keyboard.press("Enter");
    await answered(page);
    assert.equal(await focused(), "prompt", "focus does not fall into nothing");
    await page.focus("#settings-button");
    await page.keyboard.press("Enter");
    assert.equal(await focused(), "set-system");
    await page.keyboard.press("Escape");
    assert.equal(await focused(), "settings-button");
});

look("an answer is said aloud in sentences, not in tokens", {}, async (page) => {
    const words = "First sentence. Second **one**. Last".match(/.{1,3}/g).map((content) => ({ content }));
    await page.route("**/v1/chat/completions", (route) =>
        route.fulfill({ contentType: "text/event-stream", body: streamOf(...words) }),
    );
    await page.evaluate(() => {
        window.heard = [];
        const hear = (changes) => changes.forEach((c) => c.addedNodes.forEach((n) => window.heard.push(n.textContent)));
        new MutationObserver(hear).observe(document.getElementById("said"), { childList: true });
    });
    await ask(page, "hi");
    await answered(page);
    const heard = await page.evaluate(() => window.heard);
    assert.equal(heard.join(" "), "First sentence. Second one. Last");
    assert.ok(heard.length <= 3, "few pieces");
    assert.equal(await page.getAttribute("#said", "aria-live"), "polite");
    assert.equal(await page.locator("#messages [aria-live], #messages[role=log]").count(), 0);
});

look("a window of 360 pixels", { viewport: { width: 360, height: 640 } }, async (page) => {
    const body = streamOf({
        content: `# Long\n\n${"word".repeat(60)}\n\n\`\`\`\n${"code ".repeat(40)}\n\`\`\`\n\n|${"a|".repeat(20)}\n|${"-|".repeat(20)}\n`,
    });
    await page.route("**/v1/chat/completions", (route) => route.fulfill({ contentType: "text/event-stream", body }));
    await ask(page, "x".repeat(100));
    await answered(page);
    const fits = () =>
        page.evaluate(() =>
            [document.documentElement, document.getElementById("scroll")].every((e) => e.scrollWidth <= e.clientWidth),
        );
    assert.ok(await fits(), "nothing scrolls sideways");
    assert.equal(await page.locator("#chats").isVisible(), false);
    for (const id of ["chats-button", "theme-button", "panel-button", "settings-button", "send", "delete-chat"]) {
        const box = await page.locator(`#${id}`).boundingBox();
        assert.ok(box.x >= 0 && box.x + box.width <= 360 && box.y + box.height <= 640, id);
    }
    await page.click("#chats-button");
    assert.equal(await page.locator("#chats").isVisible(), true);
    await page.click("#panel-button");
    assert.equal(await page.locator("#chats").isVisible(), false);
    assert.equal(await page.locator("#panel").isVisible(), true);
    assert.ok(await fits());
    await page.click("#panel-button");
    await page.click("#chats-button");
    await page.click("#new-chat");
    assert.equal(await page.locator("#chats").isVisible(), false);
});

look("themes: the system's, light, dark", { colorScheme: "dark" }, async (page) => {
    const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const dark = await ground();
    await page.emulateMedia({ colorScheme: "light" });
    const light = await ground();
    assert.notEqual(dark, light);
    await page.click("#theme-button");
    await page.click("#theme-button");
    assert.equal(await page.textContent("#theme-button"), "Theme: dark");
    assert.equal(await ground(), dark);
    await page.reload();
    assert.equal(await ground(), dark);
});

const EVERYTHING =
    "# Heading\n\nText with `code`, **bold** and [a link](https://example.org/).\n\n- a\n- b\n\n> quote\n\n```js\nlet a;\n```\n\n| a | b |\n|--|--|\n| 1 | 2 |";

async function assertAccessible(page, where) {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    const told = violations.map((v) => `${where}: ${v.id}: ${v.help}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
    assert.deepEqual(told, []);
}

for (const [colorScheme, width] of [
    ["light", 1280],
    ["dark", 1280],
    ["dark", 360],
]) {
    look(`accessibility, ${colorScheme}, ${width} pixels`, { colorScheme, viewport: { width, height: 720 } }, async (page) => {
        await assertAccessible(page, "an empty page");
        const body = streamOf({ reasoning_content: "Hm." }, { content: EVERYTHING });
        await page.route("**/v1/chat/completions", (route) => route.fulfill({ contentType: "text/event-stream", body }));
        await ask(page, "hi");
        await answered(page);
        await page.click("details.reasoning summary");
        await assertAccessible(page, "a conversation");
        await page.locator("article.mine >> text=Edit").click();
        await assertAccessible(page, "editing");
        await page.click(".edit >> text=Cancel");
        await page.unroute("**/v1/chat/completions");
        await page.route("**/v1/chat/completions", (route) =>
            route.fulfill({ status: 429, contentType: "application/json", body: '{"error":{"message":"busy"}}' }),
        );
        for (const side of ["panel", "chats"]) {
            if (!(await page.locator(`#${side}`).isVisible())) await page.click(`#${side}-button`);
            await assertAccessible(page, side);
        }
        for (const [open, dialog] of Object.entries({
            "settings-button": "settings",
            "rename-chat": "rename",
            "delete-chat": "remove",
        })) {
            if (width < 800 && (await page.locator("#chats").isVisible())) await page.click("#chats-button");
            await page.click(`#${open}`);
            await assertAccessible(page, dialog);
            await page.click(`#${dialog} >> text=Cancel`);
        }
    });
}

look("an error is accessible", { expect: /status of 429/ }, async (page) => {
    const body = '{"error":{"message":"All slots are in use."}}';
    await page.route("**/v1/chat/completions", (route) =>
        route.fulfill({ status: 429, contentType: "application/json", headers: { "retry-after": "2" }, body }),
    );
    await ask(page, "hi");
    await until("the error", async () => /All slots are in use\. Try again in 2 s\./.test(await page.innerText("#alert")));
    await assertAccessible(page, "an error");
    await page.unroute("**/v1/chat/completions");
    await page.click("#alert >> text=Retry");
    await answered(page);
    assert.equal(await page.innerText("#alert"), "");
});
