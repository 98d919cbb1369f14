"""The dashboard shows a study that pomona wrote, on this machine only."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from .conftest import Run


def test_it_serves_the_study_and_ctrl_c_ends_it(run: Run, small: list[object]) -> None:
    assert run("search", "fruit", *small, "--trials", 2, "--epochs", 1, "--study", "s")[0] == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "pomona", "dashboard", "s", "--port", str(port)]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert f"http://127.0.0.1:{port}/dashboard/studies/0" in line, line
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies/0?after=0") as answer:
            study = json.load(answer)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert study["name"] == "s"
    assert [trial["number"] for trial in study["trials"]] == [0, 1]


def test_a_port_in_use_is_said(run: Run, small: list[object]) -> None:
    assert run("search", "fruit", *small, "--trials", 1, "--epochs", 1, "--study", "s")[0] == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = run("dashboard", "--port", taken.getsockname()[1])
    assert code == 1
    assert "choose another with --port" in err
