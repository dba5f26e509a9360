// SPDX-License-Identifier: Apache-2.0
// The three dialogs. Each returns a promise of what the user said, null if nothing; the browser keeps the focus inside and
// gives it back.

import { NUMBERS } from "./store.js";

/** Shows a dialog; read() makes the answer of its form when it is sent. */
function ask(id, read) {
    const dialog = document.getElementById(id);
    const form = dialog.querySelector("form");
    return new Promise((resolve) => {
        const end = new AbortController();
        const { signal } = end;
        let answer = null;
        form.addEventListener(
            "submit",
            (e) => {
                e.preventDefault();
                answer = read();
                dialog.close();
            },
            { signal },
        );
        for (const b of dialog.querySelectorAll("[data-close]")) b.addEventListener("click", () => dialog.close(), { signal });
        dialog.addEventListener(
            "close",
            () => {
                end.abort();
                resolve(answer);
            },
            { signal },
        );
        dialog.showModal();
    });
}

/** {system, temperature, ..., key}: texts. */
export function editSettings(settings, key) {
    const { elements } = document.getElementById("settings-form");
    for (const name of ["system", ...NUMBERS]) elements.namedItem(name).value = settings[name];
    elements.namedItem("key").value = key;
    return ask("settings", () => {
        const said = { system: elements.namedItem("system").value, key: elements.namedItem("key").value.trim() };
        for (const name of NUMBERS) said[name] = elements.namedItem(name).value.trim();
        elements.namedItem("key").value = "";
        return said;
    });
}

/** The new name. */
export function rename(title) {
    const field = document.getElementById("rename-name");
    field.value = title;
    const answer = ask("rename", () => field.value.trim() || null);
    field.select();
    return answer;
}

/** True, or null. */
export function confirmRemoval(title) {
    document.getElementById("remove-name").textContent = title;
    return ask("remove", () => true);
}
