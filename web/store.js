// SPDX-License-Identifier: Apache-2.0
// What the browser keeps: conversations and settings in localStorage, the API key in sessionStorage only. One item a
// conversation, so that what two tabs write does not collide. Storage may be full or forbidden: then save() says so, and the
// page goes on without. What is read is checked, since other pages of the same address share the storage. No DOM.
//
// A conversation: {id, title, created, updated, messages: [{role, content, reasoning?, state?, figures?}]}
//   role "user" or "assistant"; state "stopped" or "broken" for an answer that did not come to its end.

const CHAT = "medley.chat.";
const SETTINGS = "medley.settings";
const KEY = "medley.key";
export const NUMBERS = ["temperature", "top_p", "top_k", "min_p", "max_tokens", "seed"];

function readMessage(m) {
    if ((m?.role !== "user" && m?.role !== "assistant") || typeof m.content !== "string") return null;
    const message = { role: m.role, content: m.content };
    if (typeof m.reasoning === "string" && m.reasoning !== "") message.reasoning = m.reasoning;
    if (m.state === "stopped" || m.state === "broken") message.state = m.state;
    if (typeof m.figures === "string") message.figures = m.figures;
    return message;
}

function readChat(text) {
    let c;
    try {
        c = JSON.parse(text);
    } catch {
        return null;
    }
    if (typeof c?.id !== "string" || typeof c.title !== "string" || !Array.isArray(c.messages)) return null;
    const messages = c.messages.map(readMessage).filter((m) => m !== null);
    return { id: c.id, title: c.title, created: Number(c.created) || 0, updated: Number(c.updated) || 0, messages };
}

function newId() {
    const bytes = crypto.getRandomValues(new Uint8Array(9)); // randomUUID is missing where the page came by plain HTTP
    return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

/** A name for a conversation that begins with these words. */
export function titleOf(words) {
    const line = words.trim().split("\n", 1)[0].trim();
    const letters = Array.from(line);
    return letters.length > 48 ? letters.slice(0, 47).join("") + "…" : line || "New chat";
}

export class Store {
    /** Either may be null. */
    constructor(local, session) {
        this.local = local;
        this.session = session;
    }

    newChat() {
        return { id: newId(), title: "New chat", created: Date.now(), updated: Date.now(), messages: [] };
    }

    /** {id, title, updated} of all conversations, the latest first. */
    list() {
        const heads = [];
        for (let i = 0; i < (this.local?.length ?? 0); i++) {
            const key = this.local.key(i);
            const chat = key.startsWith(CHAT) ? readChat(this.local.getItem(key)) : null;
            if (chat && key === CHAT + chat.id) heads.push({ id: chat.id, title: chat.title, updated: chat.updated });
        }
        return heads.sort((a, b) => b.updated - a.updated || (a.id < b.id ? -1 : 1));
    }

    load(id) {
        return readChat(this.local?.getItem(CHAT + id) ?? "");
    }

    /** False: there is no room, or no storage. */
    save(chat) {
        return this.#set(this.local, CHAT + chat.id, JSON.stringify(chat));
    }

    remove(id) {
        this.local?.removeItem(CHAT + id);
    }

    isChatKey(key) {
        return key === null || key.startsWith(CHAT); // null: everything was cleared
    }

    /** {system, temperature, ...}: texts, "" for what the server chooses. */
    settings() {
        let s = {};
        try {
            s = JSON.parse(this.local?.getItem(SETTINGS) ?? "{}") ?? {};
        } catch {
            // as if there were none
        }
        const known = { system: typeof s.system === "string" ? s.system : "" };
        for (const name of NUMBERS)
            known[name] = typeof s[name] === "string" && Number.isFinite(Number(s[name])) ? s[name] : "";
        return known;
    }

    saveSettings(settings) {
        return this.#set(this.local, SETTINGS, JSON.stringify(settings));
    }

    get key() {
        return this.session?.getItem(KEY) ?? "";
    }

    set key(key) {
        if (key === "") this.session?.removeItem(KEY);
        else this.#set(this.session, KEY, key);
    }

    #set(storage, name, value) {
        try {
            storage.setItem(name, value);
            return true;
        } catch {
            return false;
        }
    }
}

/** The body of a request for the next answer. */
export function requestOf(chat, settings) {
    const messages = chat.messages
        .filter((m) => m.role === "user" || m.content !== "")
        .map(({ role, content }) => ({ role, content }));
    if (settings.system.trim() !== "") messages.unshift({ role: "system", content: settings.system });
    const request = { messages };
    for (const name of NUMBERS) if (settings[name] !== "") request[name] = Number(settings[name]);
    return request;
}
