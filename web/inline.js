// SPDX-License-Identifier: Apache-2.0
// What stands within a paragraph of Markdown: emphasis, code, links. Links lead to absolute http and https addresses alone;
// images are not loaded but linked. Time is linear: how many marks may be open, and how long addresses may be, is bounded.

const MOST_OPEN = 32; // marks of emphasis and links in each other

/** The address, if a link may lead there; null otherwise. */
export function safeHref(address) {
    if (!/^https?:\/\/[^\s]+$/i.test(address) || address.length > 2048) return null;
    try {
        const url = new URL(address);
        return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
    } catch {
        return null;
    }
}

const ADDRESS = /https?:\/\/[^\s<>"'`\]|]{1,2000}/iy;
const DESTINATION = /\(\s{0,9}<?((?:[^\s()<>]|\([^\s()<>]{0,512}\)){1,2048})>?(?:\s{1,9}"[^"]{0,512}")?\s{0,9}\)/y;
const LINE_BREAK = /<br\s{0,9}\/?>/iy;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const isSpace = (c) => c === "" || /\s/.test(c);
const isWord = (c) => c !== "" && /[\p{L}\p{N}]/u.test(c);

/** Where runs of backticks stand, by their length; taking one is O(1) since spans are asked for in order. */
class Backticks {
    #at = new Map(); // length -> {positions, next}

    constructor(text) {
        for (const run of text.matchAll(/`+/g)) {
            const n = run[0].length;
            if (!this.#at.has(n)) this.#at.set(n, { positions: [], next: 0 });
            this.#at.get(n).positions.push(run.index);
        }
    }

    /** The first run of n backticks at or behind `from`; -1: none. */
    find(n, from) {
        const list = this.#at.get(n);
        if (!list) return -1;
        while (list.next < list.positions.length && list.positions[list.next] < from) list.next++;
        return list.positions[list.next] ?? -1;
    }
}

function withoutLinks(nodes) {
    return nodes.flatMap((n) => {
        if (n.type === "link") return withoutLinks(n.inline);
        return n.inline ? [{ ...n, inline: withoutLinks(n.inline) }] : [n];
    });
}

class Inline {
    #text;
    #i = 0;
    #ticks;
    #frames = [{ mark: "", nodes: [] }]; // what is open, outermost first

    constructor(text) {
        this.#text = text;
        this.#ticks = new Backticks(text);
    }

    parse() {
        const special = /[\\`*_~[\]!<\nhH]/g;
        while (this.#i < this.#text.length) {
            special.lastIndex = this.#i;
            const found = special.exec(this.#text);
            const at = found ? found.index : this.#text.length;
            this.#put(this.#text.slice(this.#i, at));
            this.#i = at;
            if (found) this.#special(found[0]);
        }
        while (this.#frames.length > 1) this.#dissolve();
        return this.#frames[0].nodes;
    }

    #special(c) {
        if (c === "\\") this.#escape();
        else if (c === "`") this.#code();
        else if (c === "*" || c === "_" || c === "~") this.#emphasis(c);
        else if (c === "[") this.#open("[", 1);
        else if (c === "!" && this.#text[this.#i + 1] === "[") this.#open("![", 2);
        else if (c === "]") this.#link();
        else if (c === "\n") this.#node({ type: "break" }, 1);
        else if (c === "<") this.#take(LINE_BREAK, () => ({ type: "break" })) || this.#literal(1);
        else if (c === "h" || c === "H") this.#address();
        else this.#literal(1);
    }

    #put(text) {
        if (text === "") return;
        const nodes = this.#frames.at(-1).nodes;
        const last = nodes.at(-1);
        if (last?.type === "text") last.text += text;
        else nodes.push({ type: "text", text });
    }

    #literal(n) {
        this.#put(this.#text.slice(this.#i, this.#i + n));
        this.#i += n;
    }

    #node(node, n) {
        this.#frames.at(-1).nodes.push(node);
        this.#i += n;
    }

    /** If the pattern stands here: puts what make says of it. */
    #take(pattern, make) {
        pattern.lastIndex = this.#i;
        const found = pattern.exec(this.#text);
        if (!found) return false;
        this.#node(make(found), found[0].length);
        return true;
    }

    #escape() {
        const after = this.#text[this.#i + 1] ?? "";
        if (after === "\n") this.#node({ type: "break" }, 2);
        else if (ESCAPABLE.test(after)) {
            this.#put(after);
            this.#i += 2;
        } else this.#literal(1);
    }

    #run(c) {
        let n = 1;
        while (this.#text[this.#i + n] === c) n++;
        return n;
    }

    #code() {
        const n = this.#run("`");
        const end = this.#ticks.find(n, this.#i + n);
        if (end < 0) return this.#literal(n);
        let text = this.#text.slice(this.#i + n, end).replaceAll("\n", " ");
        if (text.length > 2 && text.startsWith(" ") && text.endsWith(" ")) text = text.slice(1, -1);
        this.#node({ type: "code", text }, end + n - this.#i);
    }

    #open(mark, n) {
        if (this.#frames.length > MOST_OPEN) return this.#literal(n);
        this.#frames.push({ mark, nodes: [] });
        this.#i += n;
    }

    /** What is open last was none: its mark is text. */
    #dissolve() {
        const frame = this.#frames.pop();
        this.#put(frame.mark);
        for (const node of frame.nodes) {
            if (node.type === "text") this.#put(node.text);
            else this.#frames.at(-1).nodes.push(node);
        }
    }

    #emphasis(c) {
        let n = this.#run(c);
        const before = this.#text[this.#i - 1] ?? "";
        const after = this.#text[this.#i + n] ?? "";
        const inWord = c === "_" && isWord(before) && isWord(after);
        const most = c === "~" ? 2 : 3;
        if (inWord || n > most || (c === "~" && n !== 2)) return this.#literal(n);
        const start = this.#i;
        if (!isSpace(before)) {
            for (let closed = 1; n > 0 && closed > 0; n -= closed) closed = this.#close(c, n);
        }
        this.#i = start + this.#run(c) - n;
        if (n > 0 && !isSpace(after)) this.#open(c.repeat(n), n);
        else if (n > 0) this.#literal(n);
    }

    /** Ends the nearest open mark of c with at most n characters; how many it had, 0: there is none. */
    #close(c, n) {
        let k = this.#frames.length - 1;
        while (k > 0 && !(this.#frames[k].mark[0] === c && this.#frames[k].mark.length <= n)) {
            if (this.#frames[k].mark.endsWith("[")) return 0;
            k--;
        }
        if (k === 0) return 0;
        while (this.#frames.length - 1 > k) this.#dissolve();
        const { mark, nodes } = this.#frames[k];
        if (nodes.length === 0) return 0;
        this.#frames.pop();
        let node = { type: mark === "~~" ? "strike" : mark.length === 1 ? "emphasis" : "strong", inline: nodes };
        if (mark.length === 3) node = { type: "emphasis", inline: [node] };
        this.#frames.at(-1).nodes.push(node);
        return mark.length;
    }

    #link() {
        let k = this.#frames.length - 1;
        while (k > 0 && !this.#frames[k].mark.endsWith("[")) k--;
        if (k === 0) return this.#literal(1);
        while (this.#frames.length - 1 > k) this.#dissolve();
        DESTINATION.lastIndex = this.#i + 1;
        const found = DESTINATION.exec(this.#text);
        const href = found && safeHref(found[1]);
        if (!href) {
            this.#dissolve();
            return this.#literal(found ? 1 + found[0].length : 1); // an address that is refused stays to be read
        }
        const inline = withoutLinks(this.#frames.pop().nodes);
        this.#node(
            { type: "link", href, inline: inline.length > 0 ? inline : [{ type: "text", text: href }] },
            1 + found[0].length,
        );
    }

    #address() {
        if (isWord(this.#text[this.#i - 1] ?? "")) return this.#literal(1);
        ADDRESS.lastIndex = this.#i;
        const whole = ADDRESS.exec(this.#text)?.[0] ?? "";
        let text = whole;
        let end = text.length;
        let open = 0;
        for (const c of text) open += c === "(" ? 1 : c === ")" ? -1 : 0;
        while (end > 0 && (".,;:!?*_~".includes(text[end - 1]) || (text[end - 1] === ")" && open < 0))) {
            if (text[--end] === ")") open++;
        }
        text = text.slice(0, end);
        const href = safeHref(text);
        if (!href) return this.#literal(whole.length || 1);
        this.#node({ type: "link", href, inline: [{ type: "text", text }] }, text.length);
    }
}

/** The nodes of a paragraph: {type: "text"|"code", text}, {type: "break"}, {type: "strong"|"emphasis"|"strike"|"link", inline, href?}. */
export function parseInline(text) {
    return new Inline(text.trim()).parse();
}
