// SPDX-License-Identifier: Apache-2.0
// The chosen theme, set before anything is drawn; a plain script, since modules run after the first paint. "auto" follows the
// system. The button of the page calls window.medleyTheme.next().
(function () {
    "use strict";
    const KEY = "medley.theme";
    const NAMES = ["auto", "light", "dark"];

    function stored() {
        try {
            const name = localStorage.getItem(KEY);
            return NAMES.includes(name) ? name : "auto";
        } catch {
            return "auto"; // storage is forbidden
        }
    }

    let name = stored();

    function apply() {
        if (name === "auto") delete document.documentElement.dataset.theme;
        else document.documentElement.dataset.theme = name;
    }

    window.medleyTheme = {
        get name() {
            return name;
        },
        next() {
            name = NAMES[(NAMES.indexOf(name) + 1) % NAMES.length];
            apply();
            try {
                localStorage.setItem(KEY, name);
            } catch {
                // holds for this visit
            }
            return name;
        },
    };
    apply();
})();
