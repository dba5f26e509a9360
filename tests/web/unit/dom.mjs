// SPDX-License-Identifier: Apache-2.0
// As much of a document as render.js needs, which writes down what it was asked for. Markup is escaped when written, so that
// a tag in html() is an element that was made.

const escape = (text) =>
    text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

class Text {
    constructor(text) {
        this.data = String(text);
    }
    get html() {
        return escape(this.data);
    }
}

class Element {
    parent = null;
    childNodes = [];
    attributes = new Map();

    constructor(tag) {
        this.tag = tag;
    }
    setAttribute(name, value) {
        this.attributes.set(name, String(value));
    }
    append(...nodes) {
        for (const n of nodes) {
            const node = typeof n === "string" ? new Text(n) : n;
            node.parent = this;
            this.childNodes.push(node);
        }
    }
    get lastChild() {
        return this.childNodes.at(-1);
    }
    remove() {
        this.parent.childNodes.splice(this.parent.childNodes.indexOf(this), 1);
    }
    get html() {
        const attributes = [...this.attributes].map(([name, value]) => ` ${name}="${escape(value)}"`).join("");
        return `<${this.tag}${attributes}>${this.inner}</${this.tag}>`;
    }
    get inner() {
        return this.childNodes.map((n) => n.html).join("");
    }
    /** This element and all in it. */
    *all() {
        yield this;
        for (const n of this.childNodes) if (n instanceof Element) yield* n.all();
    }
}

export const doc = { createElement: (tag) => new Element(tag), createTextNode: (text) => new Text(text) };
