// SPDX-License-Identifier: Apache-2.0
// The Markdown renderer: what it understands, that nothing in a text becomes markup, and that its time is linear.

import assert from "node:assert/strict";
import { test } from "node:test";
import { safeHref } from "../../../web/inline.js";
import { parse, plain } from "../../../web/markdown.js";
import { show } from "../../../web/render.js";
import { doc } from "./dom.mjs";

function html(text) {
    const root = doc.createElement("main");
    show(root, text, doc);
    return root.inner;
}

const LINK = (href, text) => `<a href="${href}" rel="noopener noreferrer" target="_blank">${text}</a>`;

const CASES = {
    "paragraphs and line breaks": ["a\nb\n\nc", "<p>a<br></br>b</p><p>c</p>"],
    "bold and italic": [
        "**a** *b* __c__ _d_ ***e***",
        "<p><strong>a</strong> <em>b</em> <strong>c</strong> <em>d</em> <em><strong>e</strong></em></p>",
    ],
    "emphasis in emphasis": ["**a *b* c**", "<p><strong>a <em>b</em> c</strong></p>"],
    "struck out": ["~~a~~ ~b~", "<p><s>a</s> ~b~</p>"],
    "marks that are none": ["2 * 3 * 4, a_b_c, **open, 5*", "<p>2 * 3 * 4, a_b_c, **open, 5*</p>"],
    "marks that cross": ["*a **b* c**", "<p><em>a **b</em> c**</p>"],
    escapes: ["\\*a\\* \\q", "<p>*a* \\q</p>"],
    "inline code": ["`a*b*` ``c`d`` `open", "<p><code>a*b*</code> <code>c`d</code> `open</p>"],
    "headings, below the page's own": ["# A\n### B ##\n#no", "<h4>A</h4><h6>B</h6><p>#no</p>"],
    "a rule": ["a\n\n---\n* * *", "<p>a</p><hr></hr><hr></hr>"],
    "a list": ["- a\n- b\n  - c\n- d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>"],
    "a numbered list": ["3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'],
    "a loose list stays one": ["1. a\n\n2. b\n\nc", "<ol><li>a</li><li>b</li></ol><p>c</p>"],
    "paragraphs of an item": ["- a\n\n  b", "<ul><li><p>a</p><p>b</p></li></ul>"],
    "an item that goes on": ["- a\nb", "<ul><li>a<br></br>b</li></ul>"],
    "a number in a text begins no list": ["born in\n1984. yes", "<p>born in<br></br>1984. yes</p>"],
    "a quote": ["> a\n> - b", "<blockquote><p>a</p><ul><li>b</li></ul></blockquote>"],
    links: ["[a *b*](https://x.y/z)", `<p>${LINK("https://x.y/z", "a <em>b</em>")}</p>`],
    "a link with parentheses and a title": ['[a](https://x.y/z_(w) "t")', `<p>${LINK("https://x.y/z_(w)", "a")}</p>`],
    "no link in a link": ["[a https://q.r b](https://x.y)", `<p>${LINK("https://x.y/", "a https://q.r b")}</p>`],
    addresses: [
        "see https://x.y/z. (https://x.y/w)",
        `<p>see ${LINK("https://x.y/z", "https://x.y/z")}. (${LINK("https://x.y/w", "https://x.y/w")})</p>`,
    ],
    "brackets that are no link": ["a[0] = b[1](c)", "<p>a[0] = b[1](c)</p>"],
    "images are linked, not loaded": ["![a](https://x.y/i.png)", `<p>${LINK("https://x.y/i.png", "a")}</p>`],
};
for (const [name, [text, wanted]] of Object.entries(CASES)) test(name, () => assert.equal(html(text), wanted));

test("code keeps every character, language and all", () => {
    const [block] = parse("```c++ x\n  if (a < b)\n\n    *p = `q`;\n```");
    assert.deepEqual([block.language, block.text], ["c++", "  if (a < b)\n\n    *p = `q`;"]);
    assert.match(html("```\n<b>\n```"), /<pre[^>]*><code>&lt;b&gt;<\/code><\/pre>/);
    assert.match(html("~~~\n```\n~~~\nafter"), /<code>```<\/code>.*<p>after<\/p>/);
});

test("code that has not come to its end is code already", () => assert.equal(parse("a\n```js\nlet b")[1].text, "let b"));

test("code within a list", () => {
    const [list, after] = parse("1. a\n   ```\n   x\n   - y\n   ```\n2. b\n\nafter");
    assert.equal(list.items.length, 2);
    assert.equal(list.items[0][1].text, "x\n- y");
    assert.equal(after.type, "paragraph");
});

test("a table", () => {
    const [t] = parse("| a | b |\n|:-:|--:|\n| 1 | `x\\|y` |\n| 2 |\n\nend");
    assert.deepEqual(t.align, ["center", "end"]);
    assert.deepEqual(
        t.rows.map((r) => plain([{ type: "table", head: [], rows: [r] }]).trim()),
        ["1, x|y", "2,"],
    );
    assert.match(html("a | b\n--|--\nc | d"), /<th class="start" scope="col">a<\/th>.*<td class="start">d<\/td>/);
    assert.equal(parse("a | b\n--\nc")[0].type, "paragraph");
});

test("only what changed is made anew", () => {
    const root = doc.createElement("main");
    let shown = show(root, "one\n\ntwo", doc);
    const [first, second] = root.childNodes;
    shown = show(root, "one\n\ntwo three\n\nfour", doc, shown);
    assert.equal(root.childNodes[0], first);
    assert.notEqual(root.childNodes[1], second);
    assert.equal(root.childNodes.length, 3);
    show(root, "", doc, shown);
    assert.equal(root.childNodes.length, 0);
});

test("words without marks", () => {
    assert.equal(plain(parse("# A\n**b** [c](https://x.y)\n\n```\n1\n2\n```\n- d")), "A\nb c\nCode of 2 lines.\nd");
});

// ---- hostile texts ----

const TAGS =
    "main p br strong em s code pre div span button h4 h5 h6 ul ol li blockquote hr a table thead tbody tr th td".split(" ");
const ATTRIBUTES = "href rel target class type data-copy tabindex role aria-label start scope".split(" ");

function assertHarmless(text) {
    const root = doc.createElement("main");
    show(root, text, doc);
    for (const e of root.all()) {
        assert.ok(TAGS.includes(e.tag), `${e.tag} from ${text}`);
        for (const [name, value] of e.attributes) {
            assert.ok(ATTRIBUTES.includes(name), `${name} from ${text}`);
            if (name === "href") assert.match(value, /^https?:\/\//, text);
        }
    }
    return root;
}

const HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href=javascript:alert(1)>x</a>",
    "<br onclick=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](\u0001javascript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:msgbox(1))",
    "[x](//evil.example/)",
    "[x](/settings)",
    "[x](file:///etc/passwd)",
    "[x](blob:https://evil.example/1)",
    '[x](https://e.example/"onmouseover="alert(1))',
    "[x](https://e.example/'><script>alert(1)</script>)",
    "![x](javascript:alert(1))",
    "![x](https://e.example/?steal)",
    "<javascript:alert(1)>",
    'https://e.example/"onclick=alert(1)//',
    '```"><script>alert(1)</script>\nx\n```',
    "``` onclick=alert(1)\nx\n```",
    "`<script>alert(1)</script>`",
    "| <script> | b |\n|---|---|\n| [x](javascript:1) | <b> |",
    "# <img src=x onerror=alert(1)>",
    "> <script>alert(1)</script>",
    "1. <script>alert(1)</script>",
    "__proto__ constructor [x](https://e.example/__proto__)",
];

test("nothing in a text becomes markup, and links lead to http and https alone", () => {
    for (const text of HOSTILE) assertHarmless(text);
});

test("text is shown as it is", () => {
    assert.equal(html("<script>alert(1)</script>"), "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>");
    assert.equal(html("&lt;"), "<p>&amp;lt;</p>");
    assert.equal(html("[x](javascript:alert(1))"), "<p>[x](javascript:alert(1))</p>");
});

test("random mixtures of marks are harmless, and keep their letters", () => {
    const pieces = [
        "*",
        "**",
        "_",
        "`",
        "```",
        "\n",
        "\n\n",
        "[",
        "](",
        ")",
        "](https://x.y)",
        "](javascript:1)",
        "<script>",
        "|",
        "|-|-|\n",
        "- ",
        "1. ",
        "> ",
        "# ",
        "    ",
        "~~",
        "\\",
        "!",
        "Q",
    ];
    let seed = 7;
    const next = (n) => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % n;
    for (let round = 0; round < 3000; round++) {
        const text = Array.from({ length: 1 + next(24) }, () => pieces[next(pieces.length)]).join("");
        const root = assertHarmless(text);
        const said = root.inner.replace(/<[^>]*>/g, "");
        if (!text.includes("`") && !text.includes("|"))
            assert.equal(said.split("Q").length, text.split("Q").length, JSON.stringify(text));
    }
});

test("addresses that a link may have", () => {
    for (const good of ["http://a", "https://a.b/c?d=e#f", "HTTPS://A.B/"]) assert.notEqual(safeHref(good), null);
    const bad = [
        "",
        "a",
        "//a",
        "/a",
        "javascript:1",
        "http:a",
        "https://",
        "https://%",
        "https://a b",
        "ftp://a",
        "https://" + "a".repeat(3000),
    ];
    for (const address of bad) assert.equal(safeHref(address), null, address);
});

test("time is linear: hostile texts of 200 kB", () => {
    const n = 200000;
    const texts = [
        "*",
        "_a ",
        "**a",
        "[",
        "[a](",
        "![",
        "`a``",
        "](",
        "> ",
        "- ",
        "a|",
        "|-",
        "#",
        "\\",
        "https://",
        "https://%",
        "((((",
        "\n\n",
        "- a\n\n",
        "1. a\n   ",
        "~~a ",
        "<br",
        "```\n",
        " ",
        "[a](b(",
        "h",
    ];
    for (const piece of texts) {
        const text = piece.repeat(n / piece.length);
        const began = process.cpuUsage(); // whatever else the machine does
        parse(text);
        const { user, system } = process.cpuUsage(began);
        assert.ok(user + system < 3e6, `${JSON.stringify(piece)}: ${user + system} us`);
    }
});
