// SPDX-License-Identifier: Apache-2.0
// The server's API, as the page uses it. Addresses are relative, so that a proxy may put the page anywhere. Every failure is
// a ServerError whose message is a sentence for the reader. No DOM.

import { events } from "./sse.js";

export class ServerError extends Error {
    /** kind: "away" (no connection, or it broke), "key" (an API key is needed), "busy" (try later), "refused". */
    constructor(kind, message) {
        super(message);
        this.kind = kind;
    }
}

const AWAY = "The server cannot be reached. It may have been stopped, or the network is down.";
const BROKE = "The answer broke off: the connection to the server was lost.";

function isAbort(error) {
    return error instanceof DOMException && error.name === "AbortError";
}

/** What a response that is not 2xx says, as a ServerError. */
async function refusal(response) {
    let said = "";
    try {
        said = (await response.json())?.error?.message;
    } catch {
        // no JSON: a proxy, or nothing at all
    }
    if (typeof said !== "string" || said === "") said = `The server answered with status ${response.status}.`;
    if (response.status === 401) return new ServerError("key", `${said} Enter an API key in the settings.`);
    if (response.status === 429 || response.status === 503) {
        const after = Number(response.headers.get("retry-after"));
        const when = after > 0 ? ` Try again in ${after} s.` : "";
        return new ServerError("busy", said + when);
    }
    if (response.status === 502 || response.status === 504) return new ServerError("away", AWAY); // a proxy's words
    return new ServerError("refused", said);
}

export class Server {
    /** key(): the API key, or "". */
    constructor(key, fetcher = (...args) => fetch(...args)) {
        this.key = key;
        this.fetcher = fetcher;
    }

    async #ask(path, options = {}) {
        const headers = { ...options.headers };
        if (this.key()) headers.authorization = `Bearer ${this.key()}`;
        let response;
        try {
            response = await this.fetcher(path, { cache: "no-store", credentials: "omit", ...options, headers });
        } catch (error) {
            if (isAbort(error)) throw error;
            throw new ServerError("away", AWAY);
        }
        if (!response.ok) throw await refusal(response);
        return response;
    }

    /** Does it answer at all? */
    async alive() {
        try {
            await this.#ask("health", { signal: AbortSignal.timeout(4000) });
            return true;
        } catch {
            return false;
        }
    }

    /** The model's name. */
    async model() {
        const list = await (await this.#ask("v1/models")).json();
        const id = list?.data?.[0]?.id;
        return typeof id === "string" ? id : "";
    }

    /** The objects of GET /experts, until the signal or the server ends it. */
    async *experts(signal) {
        const response = await this.#ask("experts", { signal });
        yield* this.#objects(response, signal);
    }

    /** An answer, piece by piece: {content}, {reasoning}, {finish}, {usage}. Throws unless it comes to its end. */
    async *chat(request, signal) {
        const response = await this.#ask("v1/chat/completions", {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
            signal,
        });
        for await (const chunk of this.#objects(response, signal)) {
            if (chunk.done) return;
            if (chunk.error) throw new ServerError("refused", String(chunk.error.message ?? "The server gave up the answer."));
            const choice = chunk.choices?.[0];
            if (typeof choice?.delta?.reasoning_content === "string") yield { reasoning: choice.delta.reasoning_content };
            if (typeof choice?.delta?.content === "string") yield { content: choice.delta.content };
            if (choice?.finish_reason) yield { finish: String(choice.finish_reason) };
            if (chunk.usage) yield { usage: chunk.usage };
        }
        throw new ServerError("away", BROKE);
    }

    async *#objects(response, signal) {
        try {
            for await (const { data } of events(response.body)) {
                if (data === "[DONE]") {
                    yield { done: true };
                    return;
                }
                yield JSON.parse(data);
            }
        } catch (error) {
            if (isAbort(error) || signal?.aborted) throw new DOMException("stopped", "AbortError");
            if (error instanceof SyntaxError) throw new ServerError("refused", "The server sent something that is no JSON.");
            throw new ServerError("away", BROKE);
        }
    }
}
