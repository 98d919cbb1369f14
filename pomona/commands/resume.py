"""`pomona resume`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from studies.request import ResumeRequest

from ..arguments import seconds_of
from ..console import counting, note
from ..hints import typed_command
from .options import AsJson, Download, Storage, Study, TrustTaskFile, option_of


def resume(
    study: Study,
    storage: Storage = None,
    trials: Annotated[int | None, option_of("trials", default="as before", min=1)] = None,
    timeout: Annotated[str | None, option_of("timeout", default="as before")] = None,
    workers: Annotated[int | None, option_of("workers", default="as before", min=1)] = None,
    weights_dir: Annotated[Path | None, option_of("weights_dir", default="as before")] = None,
    download_weights: Download = False,
    trust_task_file: TrustTaskFile = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a study that was stopped or killed, at the last whole epoch of the trial under way.

    A limit that is not given stays: --timeout 5m for a study of 10 trials is more time for the same 10 trials.

    Example: pomona resume fruit-1 --trials 32
    """
    request = ResumeRequest(
        study,
        storage,
        trials=trials,
        timeout=seconds_of(timeout),
        workers=workers,
        weights_dir=weights_dir,
        download_weights=download_weights,
        trust_task_file=trust_task_file,
        command=typed_command(),
    )
    from studies import prepare_resume

    from .search import run_and_show

    with counting("reading the data") as progress:
        prepared = prepare_resume(request, note, progress)
    run_and_show(prepared, as_json=as_json, storage=storage)
