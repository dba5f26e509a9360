// SPDX-License-Identifier: Apache-2.0
// The page of `medley serve`: puts its parts together. Conversations live in the browser alone; the server is asked with the
// whole of one for each answer. Several may be written at once, one a conversation.

import { Announcer } from "./announce.js";
import { Server } from "./api.js";
import { confirmRemoval, editSettings, rename } from "./dialogs.js";
import { Messages } from "./messages.js";
import { Panel } from "./panel.js";
import { requestOf, Store, titleOf } from "./store.js";

const SAVE_EVERY = 1000; // milliseconds, while an answer is being written
const LOOK_EVERY = 2000; // for a server that went away
const $ = (id) => document.getElementById(id);

function storage(name) {
    try {
        return window[name];
    } catch {
        return null; // the browser forbids it
    }
}

const store = new Store(storage("localStorage"), storage("sessionStorage"));
const server = new Server(() => store.key);
const panel = new Panel(server);
const announcer = new Announcer($("said"));
const messages = new Messages({ regenerate, edit });
const runs = new Map(); // id of a conversation -> {chat, message, abort}
let chat = store.newChat();
let failed = null; // {chat, kind}: whose answer failed, told in the alert

// ---- what is shown ----

function showList() {
    const heads = store.list();
    const items = heads.map(({ id, title }) => {
        const item = document.createElement("li");
        const open = document.createElement("button");
        open.type = "button";
        open.append(title);
        if (id === chat.id) open.setAttribute("aria-current", "true");
        open.addEventListener("click", () => openChat(id));
        item.append(open);
        return item;
    });
    $("chat-list").replaceChildren(...items);
    $("chats-empty").hidden = heads.length > 0;
}

function showChat() {
    const run = runs.get(chat.id);
    const focused = document.activeElement;
    messages.show(chat.messages, run?.message ?? null);
    $("chat-title").textContent = chat.title;
    document.title = chat.messages.length > 0 ? `${chat.title} – medley` : "medley";
    for (const id of ["rename-chat", "export-chat", "delete-chat"]) $(id).disabled = chat.messages.length === 0;
    const had = (run ? $("send") : $("stop")) === focused;
    $("send").hidden = Boolean(run);
    $("stop").hidden = !run;
    if (had) $("prompt").focus();
    else if (focused !== document.body) catchFocus();
}

/** What had the focus may have gone: it must not fall into nothing. */
function catchFocus() {
    const { activeElement } = document;
    if (!activeElement || activeElement === document.body) $(runs.has(chat.id) ? "stop" : "prompt").focus();
}

function alertOf(words, ...buttons) {
    const text = document.createElement("span");
    text.append(words);
    $("alert").replaceChildren(...(words === "" ? [] : [text, ...buttons]));
}

function clearAlert() {
    failed = null;
    alertOf("");
}

function save(what) {
    what.updated = Date.now();
    if (!store.save(what))
        alertOf("The browser keeps no more: its storage is full or forbidden. Export or delete conversations.");
    showList();
}

/** Not where that would bring up a keyboard on the screen. */
function focusPrompt() {
    if (matchMedia("(pointer: fine)").matches) $("prompt").focus();
}

function openChat(id) {
    const found = runs.get(id)?.chat ?? store.load(id);
    if (!found) return showList(); // deleted in another tab
    chat = found;
    if (failed?.chat.id !== id) clearAlert();
    location.hash = id;
    showDrawer("chats", false);
    showList();
    showChat();
    messages.toEnd();
    focusPrompt();
}

function newChat() {
    chat = store.newChat();
    history.replaceState(null, "", location.pathname + location.search);
    clearAlert();
    showDrawer("chats", false);
    showList();
    showChat();
    focusPrompt();
}

// ---- answers ----

function send() {
    const text = $("prompt").value;
    if (text.trim() === "" || runs.has(chat.id)) return;
    if (chat.messages.length === 0) chat.title = titleOf(text);
    chat.messages.push({ role: "user", content: text });
    $("prompt").value = "";
    location.hash = chat.id;
    answer(chat);
}

function regenerate(message) {
    if (runs.has(chat.id) || chat.messages.at(-1) !== message) return;
    chat.messages.pop();
    answer(chat);
}

/** A message of the user's: asks again from there; an answer's words are changed as they stand. */
function edit(message, text) {
    const at = chat.messages.indexOf(message);
    if (at < 0 || runs.has(chat.id)) return;
    const changed = { role: message.role, content: text };
    chat.messages[at] = changed;
    if (message.role === "user") {
        chat.messages.length = at + 1;
        return answer(chat);
    }
    save(chat);
    showChat();
}

function figuresOf(run) {
    const seconds = (performance.now() - run.first) / 1000;
    const n = run.usage?.completion_tokens;
    if (!(n > 0)) return undefined;
    const cached = run.usage.prompt_tokens_details?.cached_tokens;
    const speed = n > 1 && seconds > 0 ? `, ${((n - 1) / seconds).toFixed(1)} tokens/s` : "";
    const found = cached > 0 ? `, ${cached} of ${run.usage.prompt_tokens} prompt tokens from the cache` : "";
    const cut = run.finish === "length" ? " Cut off at the most tokens." : "";
    return `${n} tokens${speed}, first after ${((run.first - run.began) / 1000).toFixed(1)} s${found}.${cut}`;
}

function take(run, piece) {
    if (piece.content || piece.reasoning) run.first ??= performance.now();
    if (piece.content) run.message.content += piece.content;
    if (piece.reasoning) run.message.reasoning = (run.message.reasoning ?? "") + piece.reasoning;
    if (piece.finish) run.finish = piece.finish;
    if (piece.usage) run.usage = piece.usage;
    if (run.chat !== chat) return;
    messages.touch(run.message);
    announcer.update(run.message.content, false);
}

async function answer(of) {
    clearAlert();
    const request = requestOf(of, store.settings());
    const message = { role: "assistant", content: "" };
    const run = { chat: of, message, abort: new AbortController(), began: performance.now() };
    of.messages.push(message);
    runs.set(of.id, run);
    announcer.begin();
    save(of);
    showChat();
    messages.toEnd();
    let saved = performance.now();
    try {
        for await (const piece of server.chat(request, run.abort.signal)) {
            take(run, piece);
            if (performance.now() - saved < SAVE_EVERY) continue;
            store.save(of);
            saved = performance.now();
        }
        message.figures = figuresOf(run);
        delete message.state;
    } catch (error) {
        endBadly(run, error);
    }
    runs.delete(of.id);
    if (run.removed) return;
    const along = messages.atEnd();
    save(of);
    if (of !== chat) return;
    announcer.update(message.content, true);
    if (message.state === "stopped") announcer.say("Stopped.");
    showChat();
    if (along) messages.toEnd();
}

function endBadly(run, error) {
    const { message } = run;
    const stopped = run.abort.signal.aborted;
    const empty = message.content === "" && !message.reasoning;
    message.state = stopped ? "stopped" : "broken";
    if (empty) run.chat.messages.splice(run.chat.messages.indexOf(message), 1);
    if (stopped) return;
    tellFailure(run.chat, error);
}

function retry() {
    const of = failed?.chat;
    if (!of || runs.has(of.id)) return;
    if (of !== chat) openChat(of.id);
    if (chat.messages.at(-1)?.role === "assistant") chat.messages.pop();
    if (chat.messages.length > 0) answer(chat);
    catchFocus();
}

function tellFailure(of, error) {
    const kind = error.kind ?? "refused";
    const again = document.createElement("button");
    again.type = "button";
    again.append("Retry");
    again.addEventListener("click", retry);
    failed = { chat: of, kind };
    alertOf(error.kind ? error.message : `The page failed: ${error.message}`, again);
    if (kind === "away") lookForServer(failed);
}

/** Tells when a server that went away is back. */
async function lookForServer(failure) {
    while (failed === failure) {
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
        if (failed !== failure) return;
        if (document.visibilityState !== "visible" || !(await server.alive())) continue;
        if (failed !== failure) return;
        $("alert").firstElementChild.textContent = "The server is back.";
        panel.again();
        return showModel();
    }
}

function stop() {
    runs.get(chat.id)?.abort.abort();
}

async function showModel() {
    try {
        $("model").textContent = await server.model();
    } catch (error) {
        $("model").textContent = "";
        // At the start, before anything was asked: nothing to try again.
        if (!failed) alertOf(error.kind ? error.message : "The server's answer was not understood.");
    }
}

// ---- conversations ----

function exportChat() {
    const text = JSON.stringify({ format: "medley-chat", version: 1, conversation: chat, settings: store.settings() }, null, 2);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `${chat.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "chat"}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function renameChat() {
    const name = await rename(chat.title);
    if (name === null) return;
    chat.title = name;
    save(chat);
    showChat();
}

async function deleteChat() {
    if (!(await confirmRemoval(chat.title))) return;
    const run = runs.get(chat.id);
    if (run) {
        run.removed = true;
        run.abort.abort();
    }
    store.remove(chat.id);
    newChat();
}

async function changeSettings() {
    const changed = await editSettings(store.settings(), store.key);
    if (!changed) return;
    const { key, ...settings } = changed;
    const newKey = key !== store.key;
    store.key = key;
    if (!store.saveSettings(settings)) alertOf("The browser does not keep the settings: its storage is full or forbidden.");
    if (!newKey) return;
    if (!failed) alertOf("");
    showModel();
    panel.again();
}

// ---- drawers and theme ----

const wide = { chats: matchMedia("(min-width: 50rem)"), panel: matchMedia("(min-width: 72rem)") };
const shown = { chats: wide.chats.matches, panel: wide.panel.matches };

/** Opens or closes a side. On a narrow page only one is open, and conversations close once one is chosen. */
function showDrawer(name, open, always = false) {
    if (!always && wide[name].matches) return;
    shown[name] = open;
    if (open && !wide.chats.matches) shown[name === "chats" ? "panel" : "chats"] = false;
    for (const side of ["chats", "panel"]) {
        $(side).hidden = !shown[side];
        $(`${side}-button`).setAttribute("aria-expanded", String(shown[side]));
    }
    panel.open = shown.panel;
}

function showTheme() {
    $("theme-button").textContent = `Theme: ${window.medleyTheme.name}`;
    panel.redraw();
}

// ---- beginnings ----

function listen() {
    $("ask").addEventListener("submit", (e) => {
        e.preventDefault();
        send();
    });
    $("prompt").addEventListener("keydown", (e) => {
        if (e.key !== "Enter" || e.shiftKey || e.isComposing) return; // a composing Enter picks a word
        e.preventDefault();
        send();
    });
    document.addEventListener("keydown", (e) => {
        if (e.key === "Escape" && !e.isComposing && !document.querySelector("dialog[open]")) stop();
    });
    const clicks = {
        stop,
        "new-chat": newChat,
        "rename-chat": renameChat,
        "export-chat": exportChat,
        "delete-chat": deleteChat,
        "settings-button": changeSettings,
        "chats-button": () => showDrawer("chats", !shown.chats, true),
        "panel-button": () => showDrawer("panel", !shown.panel, true),
        "theme-button": () => {
            window.medleyTheme.next();
            showTheme();
        },
    };
    for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
    for (const side of ["chats", "panel"]) wide[side].addEventListener("change", (e) => showDrawer(side, e.matches, true));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
    window.addEventListener("hashchange", () => {
        const id = location.hash.slice(1);
        if (id !== "" && id !== chat.id) openChat(id);
    });
    window.addEventListener("storage", (e) => {
        if (!store.isChatKey(e.key)) return;
        const other = runs.has(chat.id) ? null : store.load(chat.id);
        if (other && other.updated > chat.updated) {
            chat = other;
            showChat();
        }
        showList();
    });
    window.addEventListener("pagehide", () => {
        for (const run of runs.values()) {
            run.message.state = "broken"; // unless the page lives on, and the answer comes to its end
            store.save(run.chat);
        }
    });
}

listen();
showDrawer("chats", shown.chats, true);
showTheme();
const asked = location.hash.slice(1);
if (asked !== "" && store.load(asked)) openChat(asked);
else newChat();
showModel();
