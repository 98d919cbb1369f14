"""`pomona worker`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..arguments import seconds_of
from ..console import counting, note
from ..hints import pomona_command
from .options import Storage, Study, TrustTaskFile, option_of


def worker(
    study: Study,
    storage: Storage = None,
    data: Annotated[str | None, option_of("data", default="as the study has it")] = None,
    weights_dir: Annotated[Path | None, option_of("weights_dir", default="as the study has it")] = None,
    device: Annotated[str | None, option_of("device", default="auto")] = None,
    workers: Annotated[int | None, option_of("workers", min=1)] = None,
    timeout: Annotated[str | None, option_of("timeout", default="until the study has all its trials")] = None,
    trust_task_file: TrustTaskFile = False,
) -> None:
    """Join a study that another machine or process runs, in a database that both reach, and train trials of it.

    It checks first that packages, data and weights are the study's. A worker may come and go at any time: what it
    leaves, others try once more. docs/how-to/many-machines.md says more.

    Example: pomona worker fruit-1 --storage postgresql://pomona@db/studies --data /mnt/fruit
    """
    from studies.joining import WorkerRequest, prepare_worker

    from ..progress import STOPPED_BY_USER, run_until_stopped

    request = WorkerRequest(
        study,
        storage,
        data=data,
        weights_dir=weights_dir,
        device=device,
        workers=workers,
        timeout=seconds_of(timeout),
        trust_task_file=trust_task_file,
    )
    with counting("reading the data") as progress:
        prepared = prepare_worker(request, note, progress)
    stopped = run_until_stopped(prepared)
    leaderboard = pomona_command("leaderboard", study, storage=storage)
    note(f"study {study}: {prepared.study.ended} trials are done; see {leaderboard}")
    if stopped == STOPPED_BY_USER:
        raise typer.Exit(130)
