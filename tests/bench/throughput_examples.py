"""One small case of the throughput benchmark, and figures for it that nobody had to measure."""

from __future__ import annotations

import torch

from bench.throughput import measure
from bench.throughput.cases import ALL, TRAINING, Case
from bench.throughput.results import OURS, REFERENCE, Candidate, Measured, Results
from bench.throughput.work import Work

CPU = torch.device("cpu")
CASE = Case("squeezenet1_1", 64, 2, TRAINING, ALL, "fp32")
SETTINGS = measure.Settings(CPU, rounds=2, seconds=1e-6, strength=2)


def made_up(ours: tuple[float, ...] = (300.0, 300.0), peer: tuple[float, ...] = (100.0, 100.0)) -> Measured:
    candidates = (
        Candidate(OURS, "NCHW", "eager", tuple(rate / 2 for rate in ours), 2**30),
        Candidate(OURS, "channels_last", "eager", ours, 3 * 2**30),
        Candidate(OURS, "channels_last", "graph", (), note="graph failed: a step waits"),
        Candidate(REFERENCE, "NCHW", "eager", peer),
    )
    return Measured(CASE, Work(2e9, 1e8), 1e12, 1e11, candidates)


def results(*measured: Measured) -> Results:
    about = {
        "command": "python -m bench.throughput",
        "environment": {"device": "a machine", "python": "3", "versions": {"torch": "2"}, "commit": "abc"},
        "device_type": "cpu",
        "cuda": "",
        "rounds": 2,
        "seconds": 1.0,
        "strength": 2,
    }
    return Results(about, [*measured])
