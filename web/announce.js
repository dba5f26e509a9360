// SPDX-License-Identifier: Apache-2.0
// What a screen reader is told of an answer that is being written: whole sentences, never single tokens, never half a block
// of code. `next` is pure; Announcer puts its words into a live region.

import { parse, plain } from "./markdown.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})/gm;

/** Where the sentences of text that are complete end: the last end of a sentence or of a line, at or behind `from`. */
function lastEnd(text, from) {
    let end = from;
    const ends = /[.!?…:;]["')\]]*(?=\s)|[。！？]|\n/g;
    ends.lastIndex = from;
    for (let found; (found = ends.exec(text));) end = found.index + found[0].length;
    return end;
}

/** What to say of text beyond `from`, and up to where that is: {say, to}. done: nothing more will come. */
export function next(text, from, done) {
    let to = done ? text.length : lastEnd(text, from);
    const fences = [...text.slice(from, to).matchAll(FENCE)];
    if (!done && fences.length % 2 === 1) to = from + fences.at(-1).index; // up to the code, which is not there whole
    const say = to > from ? plain(parse(text.slice(from, to))).trim() : "";
    return { say, to };
}

export class Announcer {
    #region;
    #said = 0;
    #last = 0;

    constructor(region) {
        this.#region = region;
    }

    begin() {
        this.#said = 0;
        this.#last = 0;
        this.#region.replaceChildren();
    }

    /** At most a piece a second: readers queue what they are told. */
    update(text, done) {
        const now = performance.now();
        if (!done && now - this.#last < 1000) return;
        const { say, to } = next(text, this.#said, done);
        this.#said = to;
        if (say !== "") this.say(say);
    }

    say(words) {
        this.#last = performance.now();
        const line = document.createElement("p");
        line.append(words);
        this.#region.append(line);
        while (this.#region.childElementCount > 8) this.#region.firstElementChild.remove();
    }
}
