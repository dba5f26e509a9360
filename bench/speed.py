#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prompt and generation speed of `medley run`, optionally beside a peer in the same run.

usage: bench/speed.py --bin build/medley --model MODEL.gguf [--threads 2] [--runs 5] [--generate 64]
                      [--peer-bench PATH]   a llama-bench program, given the same model, lengths and threads
                      [--json]

Runs alternate between the two, so that a noisy machine is noisy for both. Prints median, least and greatest; the logits
hash is medley's over the prompt's last row and every generated one. Standard library only.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def medley(args, prompt):
    out = subprocess.run([args.bin, "run", args.model, "--raw", "--file", prompt, "-n", str(args.generate), "--ignore-eog", "--temp", "0",
                          "--threads", str(args.threads), "--ctx", "2048", "--json", "-q"], capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr.strip())
    figures = json.loads(out.stdout)
    return figures.get("figures", figures)


def peer(args, n_prompt):
    out = subprocess.run([args.peer_bench, "-m", args.model, "-p", str(n_prompt), "-n", str(args.generate), "-t", str(args.threads),
                          "-r", "1", "-o", "json"], capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr.strip()[-400:])
    rows = json.loads(out.stdout)
    speed = {bool(r["n_gen"]): r["avg_ts"] for r in rows}
    return speed[False], speed[True], rows[0].get("build_commit", "?")


def spread(values):
    return {"median": round(statistics.median(values), 2), "least": round(min(values), 2), "greatest": round(max(values), 2)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--generate", type=int, default=64)
    p.add_argument("--peer-bench")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()

    with tempfile.NamedTemporaryFile("w", suffix=".txt") as prompt:
        prompt.write(open(os.path.join(ROOT, "LICENSE")).read()[:2400])
        prompt.flush()
        ours, theirs, hashes, commit = [], [], set(), None
        for _ in range(args.runs):
            f = medley(args, prompt.name)
            ours.append((f["prompt_tokens_per_second"], f["generated_tokens_per_second"], f["peak_memory_bytes"]))
            hashes.add(f["logits_hash"])
            if args.peer_bench:
                a, b, commit = peer(args, f["prompt_tokens"])
                theirs.append((a, b))
    result = {"model": os.path.basename(args.model), "prompt_tokens": f["prompt_tokens"], "generated_tokens": args.generate,
              "threads": args.threads, "runs": args.runs, "logits_hash": sorted(hashes),
              "prompt": spread([o[0] for o in ours]), "generation": spread([o[1] for o in ours]),
              "peak_memory_mib": round(max(o[2] for o in ours) / 2**20, 1)}
    if theirs:
        result["peer"] = {"commit": commit, "prompt": spread([t[0] for t in theirs]), "generation": spread([t[1] for t in theirs])}
        result["ratio"] = {k: round(result[k]["median"] / result["peer"][k]["median"], 3) for k in ("prompt", "generation")}
    if len(hashes) > 1:
        sys.exit(f"logits hashes differ between runs: {sorted(hashes)}")
    if args.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{result['model']}: {result['prompt_tokens']} prompt tokens, {args.generate} generated, {args.threads} threads, "
          f"{args.runs} runs, logits {result['logits_hash'][0]}")
    for name, r in [("medley", result)] + ([(f"peer {commit}", result["peer"])] if theirs else []):
        print(f"{name:14}" + "   ".join(f"{k} {r[k]['median']:.1f} tokens/s ({r[k]['least']:.1f} to {r[k]['greatest']:.1f})" for k in ("prompt", "generation")))
    if theirs:
        print("ratio         " + "   ".join(f"{k} {v:.2f}" for k, v in result["ratio"].items()))
    print(f"peak memory   {result['peak_memory_mib']} MiB")


if __name__ == "__main__":
    main()
