// SPDX-License-Identifier: Apache-2.0
// Which experts were chosen, layer by layer: counts that fade, counts that stay, and their picture. A cell is an expert's
// share of its layer's choices, as a multiple of an even share. Counts come from the server and are checked. Heat and its
// words know no DOM; draw() needs a canvas.

const HALF_LIFE = 1.5; // seconds
const DARK_AFTER = 6; // seconds without a choice
export const MOST = 4; // even shares that get the full colour
const MOST_LAYERS = 1024;
const MOST_EXPERTS = 4096;

function isLayer(l) {
    return Number.isInteger(l?.layer) && Array.isArray(l.experts) && l.experts.length > 0 && l.experts.length <= MOST_EXPERTS;
}

export class Heat {
    layers = []; // {layer, now: Float64Array, all: Float64Array}
    #idle = 0; // seconds since the last choice

    /** Takes the "layers" of one event and the seconds it covers. True: something was chosen, or still fades. */
    add(layers, seconds) {
        const rows = Array.isArray(layers) ? layers.filter(isLayer).slice(0, MOST_LAYERS) : [];
        const same = rows.length === this.layers.length && rows.every((l, i) => this.layers[i].all.length === l.experts.length);
        if (!same) {
            const empty = (n) => new Float64Array(n);
            this.layers = rows.map((l) => ({ layer: l.layer, now: empty(l.experts.length), all: empty(l.experts.length) }));
        }
        const passed = Math.max(0, Number(seconds) || 0);
        const count = (n) => (Number.isFinite(n) && n > 0 ? n : 0);
        const chosen = rows.some((l) => l.experts.some((n) => count(n) > 0));
        const glowed = this.#idle < DARK_AFTER;
        this.#idle = chosen ? 0 : this.#idle + passed;
        const fade = this.#idle < DARK_AFTER ? 0.5 ** (passed / HALF_LIFE) : 0;
        rows.forEach((l, i) => {
            const { now, all } = this.layers[i];
            l.experts.forEach((n, k) => {
                now[k] = now[k] * fade + count(n);
                all[k] += count(n);
            });
        });
        return !same || chosen || glowed;
    }

    /** How much of its colour the picture of the last seconds has left, 0 to 1. */
    get glow() {
        return 0.5 ** (this.#idle / HALF_LIFE);
    }

    reset() {
        for (const l of this.layers) l.all.fill(0);
    }

    /** Of each layer: {layer, share: [multiple of an even share], used, total}. span: "now" or "all". */
    rows(span) {
        return this.layers.map((l) => {
            const counts = l[span];
            const total = counts.reduce((a, b) => a + b, 0);
            const used = counts.reduce((n, c) => n + (c > 0), 0);
            return {
                layer: l.layer,
                used,
                total,
                share: Array.from(counts, (c) => (total > 0 ? (c / total) * counts.length : 0)),
            };
        });
    }
}

/** The most used experts of a row: [{expert, percent}]. */
export function busiest(row, n) {
    return row.share
        .map((share, expert) => ({ expert, percent: (100 * share) / row.share.length }))
        .filter((e) => e.percent > 0)
        .sort((a, b) => b.percent - a.percent || a.expert - b.expert)
        .slice(0, n);
}

/** The picture in a sentence. */
export function describe(rows) {
    const live = rows.filter((r) => r.total > 0);
    const most = Math.max(0, ...rows.map((r) => r.share.length));
    const size = `${rows.length} layers of ${most} experts`;
    if (live.length === 0) return `Heat map of experts, ${size}: none has been chosen yet.`;
    let top = { percent: 0 };
    for (const row of live) {
        const [first] = busiest(row, 1);
        if (first.percent > top.percent) top = { ...first, layer: row.layer };
    }
    const used = live.reduce((sum, r) => sum + r.used / r.share.length, 0) / live.length;
    return (
        `Heat map of experts, ${size}: ${Math.round(100 * used)} % of them in use; ` +
        `the most used is expert ${top.expert} of layer ${top.layer}, with ${Math.round(top.percent)} % of its layer's choices.`
    );
}

/** How strongly a multiple of an even share is coloured, 0 to 1; an even share is half of it. */
export function strength(share) {
    return Math.sqrt(Math.min(share, MOST) / MOST);
}

/** A canvas of as many pixels as the screen has for it; height in CSS pixels. Null: it is not shown. */
function prepare(canvas, height) {
    const width = canvas.clientWidth;
    if (width === 0) return null;
    const scale = window.devicePixelRatio || 1;
    const size = [Math.round(width * scale), Math.round(height * scale)];
    if (canvas.style.height !== `${height}px`) canvas.style.height = `${height}px`;
    if (canvas.width !== size[0]) canvas.width = size[0];
    if (canvas.height !== size[1]) canvas.height = size[1];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, ...size);
    context.fillStyle = getComputedStyle(canvas).color;
    return context;
}

/** A row a layer, a column an expert; colours are those of the canvas's style. glow: how much of them, 0 to 1. */
export function draw(canvas, rows, glow) {
    const tall = Math.max(3, Math.min(14, Math.floor(420 / Math.max(1, rows.length))));
    const context = prepare(canvas, Math.max(1, rows.length) * tall);
    if (!context) return;
    const high = canvas.height / Math.max(1, rows.length);
    rows.forEach((row, i) => {
        const wide = canvas.width / row.share.length;
        const gap = wide > 4 && high > 4 ? 1 : 0;
        const top = Math.round(i * high);
        const bottom = Math.round((i + 1) * high) - gap;
        row.share.forEach((share, k) => {
            if (share === 0) return;
            const left = Math.round(k * wide);
            context.globalAlpha = glow * strength(share);
            context.fillRect(left, top, Math.max(1, Math.round((k + 1) * wide) - left - gap), Math.max(1, bottom - top));
        });
    });
}

/** The legend's bar, from nothing to MOST even shares. */
export function drawScale(canvas) {
    const context = prepare(canvas, 10);
    if (!context) return;
    for (let x = 0; x < canvas.width; x++) {
        context.globalAlpha = strength((MOST * x) / canvas.width);
        context.fillRect(x, 0, 1, canvas.height);
    }
}

/** The cell under a point of the canvas: {row, expert}; null: none. */
export function cellAt(canvas, rows, x, y) {
    const row = rows[Math.floor((y / canvas.clientHeight) * rows.length)];
    const expert = row ? Math.floor((x / canvas.clientWidth) * row.share.length) : -1;
    return row && expert >= 0 && expert < row.share.length ? { row, expert } : null;
}
