"""The keywords of `pomona.search`, for editors and type checkers; what they mean is declared in `studies.request`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import SupportsFloat

    from search_spaces import Value
    from studies import Study

    from .arguments import Duration, PathLike, Whole


class SearchKeywords(TypedDict, total=False):
    """One for each option of `studies.SearchRequest`; a test compares them."""

    data: PathLike | None
    weights_dir: PathLike | None
    study: str | None
    storage: PathLike | None
    trials: Whole | None
    epochs: Whole | None
    timeout: Duration | None
    trial_timeout: Duration | None
    max_gpu_hours: SupportsFloat | None
    stop_at: SupportsFloat | None
    seed: Whole | None
    workers: Whole | None
    trials_per_gpu: Whole | None
    engine: str | None
    ray_address: str | None
    lanes: Whole | None
    device: str | None
    strategy: str | None
    sampler: str | None
    pruner: str | None
    fixed: Mapping[str, Value | Sequence[Value]] | None
    skip_unreadable: bool
    enqueue: PathLike | Mapping[str, Value] | Sequence[Mapping[str, Value]] | None
    warm_start: str | Study | Sequence[str | Study] | None
    trust_split: bool
    download_weights: bool


def search_signature() -> inspect.Signature:
    """That of `pomona.search` with its keywords one by one, as `help` and notebooks show it."""
    # Text, as nothing that the types name is to be imported for it.
    keywords = {name: reference.__forward_arg__ for name, reference in SearchKeywords.__annotations__.items()}
    parameters = [inspect.Parameter("task", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation="PathLike | Task")]
    parameters += [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if annotation == "bool" else None,
            annotation=annotation,
        )
        for name, annotation in keywords.items()
    ]
    return inspect.Signature(parameters, return_annotation="Study")
