// SPDX-License-Identifier: Apache-2.0
// Starts and ends `medley serve` on a small model with random weights, and a headless Chromium to look at its page. Where
// they lie is told by the environment (tools/web-test.sh):
//   MEDLEY                the program
//   MEDLEY_TEST_MODULES   the folder whose node_modules holds playwright-core and axe-core
//   CHROMIUM              the browser

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.MEDLEY_TEST_MODULES}/`);
export const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
export const LAYERS = 12;
export const EXPERTS = 16;

/** Writes the model. Greedy answers of it go on for thousands of tokens, some hundreds a second. */
export function makeModel(path) {
    const shape = ["--layers", LAYERS, "--width", 256, "--experts", EXPERTS, "--top-k", 2, "--seed", 3];
    execFileSync(process.env.MEDLEY, ["synth", "-q", "--force", "-o", path, ...shape.map(String)]);
}

/** Starts a server; returns {url, end()}. */
export async function serve(model, ...options) {
    const args = ["serve", model, "--alias", "tiny", "--port", "0", "--drain", "0", ...options];
    const child = spawn(process.env.MEDLEY, args, { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    child.stderr.on("data", (text) => (said += text));
    const line = await Promise.race([once(createInterface(child.stdout), "line"), once(child, "exit")]);
    const url = /https?:\/\/\S+/.exec(line[0])?.[0];
    if (!url) throw new Error(`the server does not start: ${said}`);
    const end = async (signal = "SIGTERM") => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const gone = once(child, "exit");
        child.kill(signal);
        await gone;
    };
    return { url: `${url}/`, port: new URL(url).port, end };
}

export function launch() {
    const { chromium } = require("playwright-core");
    // Nothing that would look for a network; as root there is no sandbox to be had.
    const args = [
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ];
    if (process.getuid() === 0) args.push("--no-sandbox");
    return chromium.launch({ executablePath: process.env.CHROMIUM, args });
}
