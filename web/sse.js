// SPDX-License-Identifier: Apache-2.0
// Event streams (HTML Living Standard, "Server-sent events"), parsed as they come, however the pieces are cut. Own parser,
// since EventSource can neither POST nor send an API key. Refuses lines that never end. Pure: no network, no DOM.

const MOST_LINE = 4 << 20; // characters

export class SseParser {
    #rest = ""; // the beginning of a line whose end has not come
    #data = [];
    #event = "";
    #afterCr = false;
    #first = true;

    /** Takes the next piece of text; returns the events that it completes: [{event, data}]. */
    push(text) {
        const events = [];
        if (this.#first && text.length > 0) {
            this.#first = false;
            if (text.charCodeAt(0) === 0xfeff) text = text.slice(1);
        }
        let from = 0;
        for (let i = 0; i < text.length; i++) {
            const c = text.charCodeAt(i);
            if (c !== 10 && c !== 13) {
                this.#afterCr = false;
                continue;
            }
            if (c === 13 || !this.#afterCr) this.#line(this.#rest + text.slice(from, i), events);
            this.#rest = "";
            this.#afterCr = c === 13;
            from = i + 1;
        }
        this.#rest += text.slice(from);
        if (this.#rest.length > MOST_LINE) throw new Error("a line of the event stream is too long");
        return events;
    }

    #line(line, events) {
        if (line === "") {
            if (this.#data.length > 0) events.push({ event: this.#event || "message", data: this.#data.join("\n") });
            this.#data = [];
            this.#event = "";
            return;
        }
        const colon = line.indexOf(":");
        if (colon === 0) return; // a comment: the server is alive
        const field = colon < 0 ? line : line.slice(0, colon);
        let value = colon < 0 ? "" : line.slice(colon + 1);
        if (value.startsWith(" ")) value = value.slice(1);
        if (field === "data") this.#data.push(value);
        else if (field === "event") this.#event = value;
    }
}

/** Yields the events of the body of a response. Returns when it ends; an event without its blank line is dropped. */
export async function* events(body) {
    const parser = new SseParser();
    const decoder = new TextDecoder();
    const reader = body.getReader();
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            yield* parser.push(decoder.decode(value, { stream: true }));
        }
    } finally {
        reader.cancel().catch(() => {}); // who stops listening hangs up
    }
}
