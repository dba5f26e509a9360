// SPDX-License-Identifier: Apache-2.0
// A small part of Markdown (after CommonMark and GitHub's tables), for the answers of models, which are hostile until shown
// otherwise: a text becomes a tree of plain objects, which render.js shows. Pure: no DOM. Time is linear in the text: depths
// are bounded, and nothing is read again.

import { parseInline } from "./inline.js";

const MOST_DEPTH = 8; // of lists and quotes in each other
const MOST_COLUMNS = 64;

const FENCE = /^( {0,3})(`{3,}|~{3,})([^`]*)$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( {1,4}(?! )| {1,}|$)/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const isBlank = (line) => line.trim() === "";
const indent = (line) => line.length - line.trimStart().length;

function closes(line, fence) {
    const text = line.trim();
    return text.length >= fence.length && indent(line) < 4 && text === fence[0].repeat(text.length);
}

function cells(line) {
    let text = line.trim();
    if (text.startsWith("|")) text = text.slice(1);
    if (text.endsWith("|") && !text.endsWith("\\|")) text = text.slice(0, -1);
    const out = [""];
    for (let i = 0; i < text.length; i++) {
        if (text[i] === "\\" && text[i + 1] === "|") out[out.length - 1] += text[++i];
        else if (text[i] !== "|") out[out.length - 1] += text[i];
        else if (out.push("") > MOST_COLUMNS) return null;
    }
    return out.map((cell) => cell.trim());
}

/** The alignments of a table whose first line is lines[i]; null: there is none. */
function tableAt(lines, i) {
    if (!lines[i].includes("|") || !lines[i + 1]?.includes("-") || !/^[\s|:-]+$/.test(lines[i + 1])) return null;
    const head = cells(lines[i]);
    const marks = cells(lines[i + 1]);
    if (!head || !marks || head.length !== marks.length || !marks.every((m) => /^:?-+:?$/.test(m))) return null;
    return marks.map((m) => (m.endsWith(":") ? (m.startsWith(":") ? "center" : "end") : "start"));
}

class Blocks {
    #lines;
    #depth;
    #i = 0;

    constructor(lines, depth) {
        this.#lines = lines;
        this.#depth = depth;
    }

    parse() {
        const blocks = [];
        while (this.#i < this.#lines.length) {
            if (isBlank(this.#lines[this.#i])) {
                this.#i++;
                continue;
            }
            const from = this.#i;
            const block = this.#block();
            block.source = this.#lines.slice(from, this.#i).join("\n");
            blocks.push(block);
        }
        return blocks;
    }

    #block() {
        const line = this.#lines[this.#i];
        const fence = FENCE.exec(line);
        if (fence) return this.#code(fence);
        const marks = /^ {0,3}(#{1,6})(?=\s|$)/.exec(line);
        if (marks) return this.#heading(line, marks);
        if (RULE.test(line)) {
            this.#i++;
            return { type: "rule" };
        }
        if (this.#depth < MOST_DEPTH) {
            if (/^ {0,3}>/.test(line)) return this.#quote();
            const item = ITEM.exec(line);
            if (item) return this.#list(item);
        }
        const align = tableAt(this.#lines, this.#i);
        return align ? this.#table(align) : this.#paragraph();
    }

    /** Does another block begin at line i, within a paragraph? */
    #interrupts(i) {
        const line = this.#lines[i];
        if (isBlank(line) || FENCE.test(line) || /^ {0,3}#{1,6}\s/.test(line) || RULE.test(line)) return true;
        if (this.#depth >= MOST_DEPTH) return false;
        const item = ITEM.exec(line);
        if (item && item[3] !== "" && (!/\d/.test(item[2]) || parseInt(item[2], 10) === 1)) return true;
        return /^ {0,3}>/.test(line) || tableAt(this.#lines, i) !== null;
    }

    #code([, margin, fence, info]) {
        const text = [];
        let closed = false;
        for (this.#i++; this.#i < this.#lines.length && !closed; this.#i++) {
            const line = this.#lines[this.#i];
            closed = closes(line, fence);
            if (!closed) text.push(line.slice(Math.min(indent(line), margin.length)));
        }
        if (!closed && text.at(-1) === "") text.pop(); // the end of the text is no line
        const language = /^[\w+#.-]{1,32}/.exec(info.trim())?.[0] ?? "";
        return { type: "code", language, text: text.join("\n") };
    }

    #heading(line, marks) {
        this.#i++;
        let text = line.slice(marks[0].length).trim();
        let end = text.length;
        while (text[end - 1] === "#") end--;
        if (end === 0 || text[end - 1] === " ") text = text.slice(0, end);
        return { type: "heading", level: marks[1].length, inline: parseInline(text) };
    }

    #quote() {
        const inner = [];
        for (; this.#i < this.#lines.length && /^ {0,3}>/.test(this.#lines[this.#i]); this.#i++)
            inner.push(this.#lines[this.#i].replace(/^ {0,3}> ?/, ""));
        return { type: "quote", blocks: new Blocks(inner, this.#depth + 1).parse() };
    }

    #list(first) {
        const ordered = /\d/.test(first[2]);
        const margin = first[1].length;
        const list = { type: "list", ordered, start: ordered ? parseInt(first[2], 10) : 1, items: [] };
        while (this.#i < this.#lines.length) {
            const item = ITEM.exec(this.#lines[this.#i]);
            if (!item || /\d/.test(item[2]) !== ordered || item[1].length > margin + 1 || RULE.test(this.#lines[this.#i]))
                break;
            list.items.push(new Blocks(this.#item(item), this.#depth + 1).parse());
        }
        return list;
    }

    /** The lines of an item, without its margin; lists are left when a line is not indented behind the mark. */
    #item(item) {
        const margin = item[1].length + item[2].length + Math.min(Math.max(item[3].length, 1), 4);
        const lines = [this.#lines[this.#i++].slice(item[0].length)];
        let fence = FENCE.exec(lines[0])?.[2] ?? null;
        for (; this.#i < this.#lines.length; this.#i++) {
            const line = this.#lines[this.#i];
            const inside = indent(line) >= item[1].length + 2;
            const stripped = line.slice(Math.min(indent(line), margin));
            if (fence) {
                if (closes(stripped, fence)) fence = null;
            } else if (isBlank(line)) {
                const next = this.#pastBlanks();
                const goesOn = next < this.#lines.length && indent(this.#lines[next]) >= item[1].length + 2;
                this.#i = goesOn ? next - 1 : next;
                if (!goesOn) break;
                lines.push("");
                continue;
            } else if (!inside && (isBlank(lines.at(-1)) || ITEM.test(line) || this.#interrupts(this.#i))) {
                break;
            } else {
                fence = FENCE.exec(stripped)?.[2] ?? null;
            }
            lines.push(stripped);
        }
        return lines;
    }

    #pastBlanks() {
        let k = this.#i;
        while (k < this.#lines.length && isBlank(this.#lines[k])) k++;
        return k;
    }

    #table(align) {
        const head = cells(this.#lines[this.#i]).map(parseInline);
        const rows = [];
        for (this.#i += 2; this.#i < this.#lines.length && this.#lines[this.#i].includes("|"); this.#i++) {
            const row = cells(this.#lines[this.#i]) ?? [];
            rows.push(head.map((_, k) => parseInline(row[k] ?? "")));
        }
        return { type: "table", align, head, rows };
    }

    #paragraph() {
        const text = [this.#lines[this.#i++].trim()];
        while (this.#i < this.#lines.length && !this.#interrupts(this.#i)) text.push(this.#lines[this.#i++].trim());
        return { type: "paragraph", inline: parseInline(text.join("\n")) };
    }
}

/** A tree: blocks, each with the lines it came from as `source`. Any text is some tree. */
export function parse(text) {
    return new Blocks(text.replace(/\r\n?/g, "\n").replaceAll("\t", "    ").split("\n"), 0).parse();
}

// ---- what it sounds like ----

function plainInline(nodes) {
    return nodes.map((n) => (n.type === "break" ? "\n" : (n.text ?? plainInline(n.inline)))).join("");
}

/** The words of a tree, without marks; code as its length only. */
export function plain(blocks) {
    const one = (b) => {
        if (b.type === "code") return `Code of ${b.text.split("\n").length} lines.`;
        if (b.type === "rule") return "";
        if (b.type === "list") return b.items.map(plain).join("\n");
        if (b.type === "quote") return plain(b.blocks);
        if (b.type === "table") return [b.head, ...b.rows].map((row) => row.map(plainInline).join(", ")).join("\n");
        return plainInline(b.inline);
    };
    return blocks.map(one).join("\n");
}
