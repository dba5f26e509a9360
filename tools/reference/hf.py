# SPDX-License-Identifier: Apache-2.0
"""Runs a checkpoint with transformers, in 32-bit float as published and in 64-bit float throughout."""

from contextlib import nullcontext

import torch
from torch.overrides import TorchFunctionMode


class Double(TorchFunctionMode):
    """Turns every request for 32-bit float into one for 64-bit: models ask for it by name in norms, softmax, routers and
    rope, so that .double() alone would leave their rounding in."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.float:
            return args[0].double()
        args = tuple(torch.float64 if a is torch.float32 else a for a in args)
        for key, value in kwargs.items():
            if value is torch.float32:
                kwargs[key] = torch.float64
        return func(*args, **kwargs)


def load(folder, auto, dtype):
    model, info = auto.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation="eager",
        output_loading_info=True,
        experts_implementation="eager",
        trust_remote_code=False,
    )
    bad = {k: v for k, v in info.items() if v and k in ("missing_keys", "mismatched_keys", "unexpected_keys")}
    return model.eval(), bad


def logits(folder, auto, prompts, double, forward=None, prepare=None):
    """([positions, n_vocab] of each prompt, keys of the checkpoint that did not fit the model)."""
    dtype = torch.float64 if double else torch.float32
    with Double() if double else nullcontext(), torch.no_grad():
        torch.set_default_dtype(dtype)
        try:
            model, bad = load(folder, auto, dtype)
            if prepare:
                prepare(model)
            out = []
            for ids in prompts:
                x = torch.tensor([ids])
                y = forward(model, x) if forward else model(input_ids=x, use_cache=False).logits
                out.append(y[0].double().numpy())
        finally:
            torch.set_default_dtype(torch.float32)
    return out, bad
