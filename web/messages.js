// SPDX-License-Identifier: Apache-2.0
// The messages of one conversation, as elements. What a model or a user wrote becomes text nodes, or what markdown.js makes of
// it. Follows an answer that is being written: once a frame, only the blocks that changed, and scrolls along unless the
// reader has scrolled away.

import { show } from "./render.js";

const STATES = { stopped: "Stopped.", broken: "Broken off." };

function element(tag, className, ...children) {
    const e = document.createElement(tag);
    if (className) e.className = className;
    e.append(...children);
    return e;
}

function button(name, label, act) {
    const b = element("button", "", name);
    b.type = "button";
    if (label) b.setAttribute("aria-label", label);
    b.addEventListener("click", act);
    return b;
}

/** Copies a text; where the page did not come by HTTPS or from this machine, by way of a selection. */
async function copy(text) {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        const area = element("textarea", "unseen");
        area.value = text;
        document.body.append(area);
        area.select();
        const done = document.execCommand("copy");
        area.remove();
        return done;
    }
}

async function copyAndTell(b, text) {
    const done = await copy(text);
    b.textContent = done ? "Copied" : "Not copied";
    b.focus();
    setTimeout(() => (b.textContent = "Copy"), 1500);
}

/** One message and its element. */
class Item {
    #blocks = []; // shown, of the answer
    #thoughts = [];
    #thinking = null; // <details>

    constructor(message, view) {
        this.message = message;
        this.view = view;
        const mine = message.role === "user";
        this.heading = element("h3", "unseen", mine ? "You" : "Model");
        this.body = element("div", mine ? "body words" : "body");
        this.body.dir = "auto";
        this.foot = element("div", "foot");
        this.article = element("article", mine ? "mine" : "model", this.heading, this.body, this.foot);
        this.element = element("li", "", this.article);
        this.update(false);
    }

    update(running) {
        const { message } = this;
        if (message.role === "user") this.body.textContent = message.content;
        else {
            this.#reason(running);
            this.#blocks = show(this.body, message.content, document, this.#blocks);
        }
        this.article.setAttribute("aria-busy", String(running));
        this.#footer(running);
    }

    #reason(running) {
        const text = this.message.reasoning;
        if (!text) return;
        if (!this.#thinking) {
            this.#thinking = element("details", "reasoning", element("summary"), element("div", "body thoughts"));
            this.#thinking.lastChild.dir = "auto";
            this.body.before(this.#thinking);
        }
        const [summary, inner] = this.#thinking.children;
        const words = running && this.message.content === "" ? "Reasoning…" : "Reasoning";
        if (summary.textContent !== words) summary.textContent = words;
        this.#thoughts = show(inner, text, document, this.#thoughts);
    }

    #footer(running) {
        const { message, view } = this;
        const key = running ? "running" : [message.state, message.figures, view.lastAnswer() === message].join();
        if (this.foot.dataset.key === key) return;
        this.foot.dataset.key = key;
        const words = [STATES[message.state], message.figures].filter(Boolean).join(" ");
        this.foot.replaceChildren(element("span", "quiet", running ? "Writing…" : words));
        if (running) return;
        const who = message.role === "user" ? "your message" : "the answer";
        const copier = button("Copy", "", () => copyAndTell(copier, message.content));
        this.foot.append(
            copier,
            button("Edit", `Edit ${who}`, () => this.edit()),
        );
        if (view.lastAnswer() === message) this.foot.append(button("Regenerate", "", () => view.on.regenerate(message)));
    }

    /** Puts a field in the place of the text. */
    edit() {
        if (this.article.querySelector("form")) return;
        const { message } = this;
        const area = element("textarea");
        area.value = message.content;
        area.rows = Math.min(16, message.content.split("\n").length + 1);
        area.setAttribute("aria-label", message.role === "user" ? "Edit your message" : "Edit the answer");
        const save = button(message.role === "user" ? "Save and ask again" : "Save", "", () => form.requestSubmit());
        const form = element(
            "form",
            "edit",
            area,
            element(
                "p",
                "row",
                save,
                button("Cancel", "", () => end()),
            ),
        );
        const end = () => {
            form.replaceWith(this.body);
            this.foot.hidden = false;
            this.foot.querySelectorAll("button")[1]?.focus();
        };
        form.addEventListener("submit", (e) => {
            e.preventDefault();
            const text = area.value;
            end();
            if (text.trim() !== "") this.view.on.edit(message, text);
        });
        form.addEventListener("keydown", (e) => {
            if (e.key === "Escape") {
                e.stopPropagation();
                end();
            }
        });
        this.body.replaceWith(form);
        this.foot.hidden = true;
        area.focus();
    }
}

export class Messages {
    #items = [];
    #running = null; // the message that is being written
    #frame = 0;
    #messages = [];

    /** on: {regenerate(message), edit(message, text)} */
    constructor(on) {
        this.on = on;
        this.list = document.getElementById("messages");
        this.scroll = document.getElementById("scroll");
        this.list.addEventListener("click", (e) => {
            const b = e.target.closest?.("[data-copy]");
            if (b) copyAndTell(b, b.closest(".code").querySelector("pre").textContent);
        });
    }

    lastAnswer() {
        const last = this.#messages.at(-1);
        return last?.role === "assistant" ? last : null;
    }

    /** Shows these messages and no others; running: the one of them that is being written, or null. */
    show(messages, running) {
        this.#messages = messages;
        this.#running = running;
        const old = new Map(this.#items.map((item) => [item.message, item]));
        this.#items = messages.map((m) => old.get(m) ?? new Item(m, this));
        for (const item of this.#items) item.update(item.message === running);
        const wanted = this.#items.map((item) => item.element);
        if (wanted.length !== this.list.children.length || wanted.some((e, i) => this.list.children[i] !== e))
            this.list.replaceChildren(...wanted);
        document.getElementById("messages-empty").hidden = messages.length > 0;
    }

    /** More of a message has come. */
    touch(message) {
        if (message !== this.#running || this.#frame !== 0) return;
        this.#frame = requestAnimationFrame(() => {
            this.#frame = 0;
            const item = this.#items.find((i) => i.message === this.#running);
            if (!item) return;
            const along = this.atEnd();
            item.update(true);
            if (along) this.toEnd();
        });
    }

    atEnd() {
        return this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < 48;
    }

    toEnd() {
        this.scroll.scrollTop = this.scroll.scrollHeight;
    }
}
