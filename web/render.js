// SPDX-License-Identifier: Apache-2.0
// Shows a tree of markdown.js as elements, made by DOM calls: text only ever becomes text nodes, and there is no way from
// text to markup.

import { safeHref } from "./inline.js";
import { parse } from "./markdown.js";

const INLINE_TAGS = { strong: "strong", emphasis: "em", strike: "s" };

function element(doc, tag, attributes, ...children) {
    const e = doc.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    e.append(...children);
    return e;
}

function renderInline(nodes, doc) {
    return nodes.map((n) => {
        if (n.type === "text") return doc.createTextNode(n.text);
        if (n.type === "code") return element(doc, "code", {}, doc.createTextNode(n.text));
        if (n.type === "break") return element(doc, "br", {});
        const inner = renderInline(n.inline, doc);
        if (n.type !== "link") return element(doc, INLINE_TAGS[n.type], {}, ...inner);
        // Once more, whoever made the tree.
        const href = safeHref(n.href);
        if (!href) return element(doc, "span", {}, ...inner);
        return element(doc, "a", { href, rel: "noopener noreferrer", target: "_blank" }, ...inner);
    });
}

function renderCode(block, doc) {
    const language = block.language || "text";
    const copy = element(doc, "button", { type: "button", class: "copy", "data-copy": "code" }, "Copy");
    const code = element(doc, "code", {}, doc.createTextNode(block.text));
    return element(
        doc,
        "div",
        { class: "code" },
        element(doc, "div", { class: "code-head" }, element(doc, "span", {}, doc.createTextNode(language)), copy),
        element(doc, "pre", { tabindex: "0", role: "region", "aria-label": `Code, ${language}` }, code),
    );
}

function renderTable(block, doc) {
    const cell = (tag, nodes, k) => {
        const scope = tag === "th" ? { scope: "col" } : {};
        return element(doc, tag, { class: block.align[k], ...scope }, ...renderInline(nodes, doc));
    };
    const row = (tag, list) => element(doc, "tr", {}, ...list.map((nodes, k) => cell(tag, nodes, k)));
    const body = block.rows.map((list) => row("td", list));
    const table = element(
        doc,
        "table",
        {},
        element(doc, "thead", {}, row("th", block.head)),
        element(doc, "tbody", {}, ...body),
    );
    return element(doc, "div", { class: "wide-table", role: "region", "aria-label": "Table", tabindex: "0" }, table);
}

function renderList(block, doc) {
    const items = block.items.map((blocks) => {
        const inner = blocks.flatMap((b) => (b.type === "paragraph" ? renderInline(b.inline, doc) : [renderBlock(b, doc)]));
        const simple = blocks.filter((b) => b.type === "paragraph").length < 2;
        return element(doc, "li", {}, ...(simple ? inner : blocks.map((b) => renderBlock(b, doc))));
    });
    const start = block.ordered && block.start !== 1 ? { start: String(block.start) } : {};
    return element(doc, block.ordered ? "ol" : "ul", start, ...items);
}

/** The element of one block. */
export function renderBlock(block, doc) {
    switch (block.type) {
        case "code":
            return renderCode(block, doc);
        case "heading": // below the page's own three levels
            return element(doc, `h${Math.min(block.level + 3, 6)}`, {}, ...renderInline(block.inline, doc));
        case "list":
            return renderList(block, doc);
        case "quote":
            return element(doc, "blockquote", {}, ...block.blocks.map((b) => renderBlock(b, doc)));
        case "table":
            return renderTable(block, doc);
        case "rule":
            return element(doc, "hr", {});
        default:
            return element(doc, "p", {}, ...renderInline(block.inline, doc));
    }
}

/** Makes a parent show a text, keeping the elements of blocks that did not change since it was last called. */
export function show(parent, text, doc, shown = []) {
    const blocks = parse(text);
    let same = 0;
    while (same < shown.length && same < blocks.length && shown[same].source === blocks[same].source) same++;
    while (parent.childNodes.length > same) parent.lastChild.remove();
    for (const block of blocks.slice(same)) parent.append(renderBlock(block, doc));
    return blocks;
}
