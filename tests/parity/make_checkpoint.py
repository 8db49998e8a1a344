#!/usr/bin/env python3
"""Rebuild the deterministic checkpoint behind a parity fixture: usage make_checkpoint.py FIXTURE.json OUT.pth"""

import json
import sys
import zlib

import torch


def tensor_for(name, shape):
    """The value of one parameter, from nothing but its name and shape (float32)."""
    shape = tuple(shape)
    leaf = name.split(".")[-1]
    if leaf == "num_batches_tracked":
        return torch.tensor(100, dtype=torch.int64)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    if leaf == "running_var":
        x = 1.0 + 0.1 * x.abs()
    elif leaf == "running_mean":
        x = 0.05 * x
    elif len(shape) >= 2 and leaf in ("weight", "in_proj_weight", "proj"):
        fan_in = shape[0] if leaf == "proj" else x[0].numel()
        x = x / fan_in**0.5
    elif len(shape) >= 2:  # embeddings
        x = 0.02 * x
    elif len(shape) == 1 and leaf == "weight":  # gains of norms
        x = 1.0 + 0.1 * x
    elif len(shape) == 0:
        x = 0.5 + 0.1 * x
    else:  # biases and vectors
        x = 0.02 * x
    return x.float()


def clip_for(seed, shape):
    """A deterministic input: standard normal, float32."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64).float()


def checkpoint(fixture):
    return {name: tensor_for(name, shape) for name, shape in fixture["keys"].items()}


if __name__ == "__main__":
    with open(sys.argv[1]) as f:
        torch.save(checkpoint(json.load(f)), sys.argv[2])
