// SPDX-License-Identifier: Apache-2.0
// The live panel: figures of the server and the heat map, fed by GET /experts. It listens only while it can be seen, since a
// server observes its experts only while somebody listens, and a browser has few connections to one server. When the stream
// ends it tries again, more and more seldom.

import { busiest, cellAt, describe, draw, drawScale, Heat } from "./heatmap.js";

const FIRST_WAIT = 1000; // milliseconds
const MOST_WAIT = 15000;
const CALM = 1000; // between pictures and tables where motion is unwelcome, or words change

const number = (x, digits = 0) => (Number.isFinite(x) ? x.toLocaleString("en", { maximumFractionDigits: digits }) : "–");

function sleep(milliseconds, signal) {
    return new Promise((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
}

export class Panel {
    #server;
    #open = false;
    #listening = null; // AbortController
    #heat = new Heat();
    #cached = 0; // sums since the page began to listen
    #hits = 0;
    #misses = 0;
    #drawn = 0;
    #told = 0;
    #pointer = null; // {x, y} over the canvas
    #calm = matchMedia("(prefers-reduced-motion: reduce)");

    constructor(server) {
        this.#server = server;
        this.canvas = document.getElementById("heat");
        this.span = document.getElementById("heat-span");
        this.span.addEventListener("change", () => this.#picture(true));
        document.getElementById("heat-reset").addEventListener("click", () => {
            this.#heat.reset();
            this.#picture(true);
        });
        document.getElementById("heat-table").addEventListener("toggle", () => this.#picture(true));
        document.addEventListener("visibilitychange", () => this.#arrange());
        this.canvas.addEventListener("pointermove", (e) => this.#point({ x: e.offsetX, y: e.offsetY }));
        this.canvas.addEventListener("pointerleave", () => this.#point(null));
        new ResizeObserver(() => this.#picture(true)).observe(this.canvas.parentElement);
    }

    set open(open) {
        this.#open = open;
        this.#arrange();
    }

    /** Another key, or a server that is back: try at once. */
    again() {
        this.#listening?.abort();
        this.#listening = null;
        this.#arrange();
    }

    /** After a change of colours. */
    redraw() {
        this.#picture(true);
    }

    #arrange() {
        const wanted = this.#open && document.visibilityState === "visible";
        if (wanted && !this.#listening) {
            this.#listening = new AbortController();
            this.#listen(this.#listening.signal);
        } else if (!wanted && this.#listening) {
            this.#listening.abort();
            this.#listening = null;
            this.#state("Paused");
        }
    }

    async #listen(signal) {
        for (let wait = FIRST_WAIT; !signal.aborted; wait = Math.min(2 * wait, MOST_WAIT)) {
            let why = "Not connected.";
            try {
                for await (const event of this.#server.experts(signal)) {
                    wait = FIRST_WAIT;
                    this.#event(event);
                }
            } catch (error) {
                if (error.kind && error.kind !== "away") why = error.message;
            }
            if (signal.aborted) return;
            this.#state(`${why} Trying again.`);
            await sleep(wait, signal);
        }
    }

    #state(words) {
        const state = document.getElementById("panel-state");
        if (state.textContent !== words) state.textContent = words;
    }

    #event(e) {
        this.#state("Connected");
        this.#cached += Number(e.cached_tokens) || 0;
        this.#hits += Number(e.expert_hits) || 0;
        this.#misses += Number(e.expert_misses) || 0;
        const asked = this.#hits + this.#misses;
        const figures = {
            speed: number(e.tokens_per_second, 1),
            prompt: number(e.prompt_tokens_per_second, 0),
            running: number(e.running),
            waiting: number(e.waiting),
            cached: number(this.#cached),
            hits: asked > 0 ? `${number((100 * this.#hits) / asked, 1)} %` : "all",
        };
        for (const [name, text] of Object.entries(figures)) {
            const place = document.getElementById(`figure-${name}`);
            if (place.textContent !== text) place.textContent = text;
        }
        const moved = this.#heat.add(e.layers, e.seconds);
        document.getElementById("experts").hidden = this.#heat.layers.length === 0;
        document.getElementById("no-experts").hidden = this.#heat.layers.length > 0;
        if (moved) this.#picture(false);
    }

    #picture(now) {
        const time = performance.now();
        if (!now && this.#calm.matches && time - this.#drawn < CALM) return;
        this.#drawn = time;
        const rows = this.#heat.rows(this.span.value);
        draw(this.canvas, rows, this.span.value === "now" ? this.#heat.glow : 1);
        drawScale(document.getElementById("heat-scale"));
        this.#cell(rows);
        if (!now && time - this.#told < CALM) return;
        this.#told = time;
        this.canvas.setAttribute("aria-label", describe(rows));
        if (document.getElementById("heat-table").open) this.#table(rows);
    }

    #table(rows) {
        const lines = rows.map((row) => {
            const line = document.createElement("tr");
            const head = document.createElement("th");
            head.scope = "row";
            head.append(String(row.layer));
            const used = document.createElement("td");
            used.append(`${row.used} of ${row.share.length}`);
            const most = document.createElement("td");
            most.append(
                busiest(row, 3)
                    .map((e) => `${e.expert} (${Math.round(e.percent)} %)`)
                    .join(", ") || "–",
            );
            line.append(head, used, most);
            return line;
        });
        document.getElementById("heat-rows").replaceChildren(...lines);
    }

    #point(pointer) {
        this.#pointer = pointer;
        this.#cell(this.#heat.rows(this.span.value));
    }

    #cell(rows) {
        const at = this.#pointer && cellAt(this.canvas, rows, this.#pointer.x, this.#pointer.y);
        const share = at ? at.row.share[at.expert] : 0;
        document.getElementById("heat-cell").textContent = at
            ? `Layer ${at.row.layer}, expert ${at.expert}: ${number((100 * share) / at.row.share.length, 1)} % of the layer's choices`
            : "Rows are layers, columns experts.";
    }
}
