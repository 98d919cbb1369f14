"""The training core: data -> batches -> model -> epochs. Knows nothing of searching.

Names are loaded when they are first used: a part of the core runs where only its own libraries are installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _memory as _memory
from . import _openmp as _openmp
from .lazy import load_on_use

if TYPE_CHECKING:
    from .augment import augment as augment
    from .availability import Runnable as Runnable
    from .availability import runnable as runnable
    from .backbones import Backbone as Backbone
    from .cache import cache_folder as cache_folder
    from .checkpoint import Checkpoint as Checkpoint
    from .checkpoint import check_checkpoint_folder as check_checkpoint_folder
    from .checkpoint import has_checkpoint as has_checkpoint
    from .checkpoint import load_checkpoint as load_checkpoint
    from .data import RENDERED as RENDERED
    from .data import Data as Data
    from .data import open_data as open_data
    from .data import splits_for as splits_for
    from .data.splits import Split as Split
    from .data.splits import Splits as Splits
    from .environment import environment as environment
    from .errors import Stop as Stop
    from .evaluate import Evaluation as Evaluation
    from .evaluate import Prediction as Prediction
    from .evaluate import evaluate as evaluate
    from .evaluate import predict as predict
    from .files import atomic_write_bytes as atomic_write_bytes
    from .files import write_versioned_json as write_versioned_json
    from .fit import diverged as diverged
    from .fit import fit as fit
    from .fit import fit_lanes as fit_lanes
    from .fit import free_memory as free_memory
    from .fit import is_out_of_memory as is_out_of_memory
    from .interrupts import CheckStop as CheckStop
    from .interrupts import SaveClock as SaveClock
    from .interrupts import interrupt as interrupt
    from .interrupts import never_stop as never_stop
    from .interrupts import uninterrupted as uninterrupted
    from .intervals import Estimate as Estimate
    from .intervals import grouped_accuracy as grouped_accuracy
    from .intervals import wilson as wilson
    from .lane_state import LaneState as LaneState
    from .lane_state import load_lane as load_lane
    from .lane_state import save_lane as save_lane
    from .lanes import LaneGroup as LaneGroup
    from .numerics import Measured as Measured
    from .numerics import measure_numerics as measure_numerics
    from .numerics import resolve_device as resolve_device
    from .precision import Numerics as Numerics
    from .prefix_store import PrefixStore as PrefixStore
    from .prefixes import Prefixes as Prefixes
    from .results import EpochResult as EpochResult
    from .results import FitResult as FitResult
    from .results import State as State
    from .seeds import number_of as number_of
    from .structure import Structure as Structure
    from .structure import backbone_of as backbone_of
    from .structure import from_scratch as from_scratch
    from .structure import most_unfrozen as most_unfrozen
    from .structure import structure_of as structure_of
    from .structure import structure_part as structure_part
    from .weights import load_backbone as load_backbone

__owner__ = "pomona"

# The imports above once more, as they happen.
_NAMES: dict[str, tuple[str, ...]] = {
    "augment": ("augment",),
    "availability": ("Runnable", "runnable"),
    "backbones": ("Backbone",),
    "cache": ("cache_folder",),
    "checkpoint": ("Checkpoint", "check_checkpoint_folder", "has_checkpoint", "load_checkpoint"),
    "data": ("RENDERED", "Data", "open_data", "splits_for"),
    "data.splits": ("Split", "Splits"),
    "environment": ("environment",),
    "errors": ("Stop",),
    "evaluate": ("Evaluation", "Prediction", "evaluate", "predict"),
    "files": ("atomic_write_bytes", "write_versioned_json"),
    "fit": ("diverged", "fit", "fit_lanes", "free_memory", "is_out_of_memory"),
    "intervals": ("Estimate", "grouped_accuracy", "wilson"),
    "interrupts": ("CheckStop", "SaveClock", "interrupt", "never_stop", "uninterrupted"),
    "lane_state": ("LaneState", "load_lane", "save_lane"),
    "lanes": ("LaneGroup",),
    "numerics": ("Measured", "measure_numerics", "resolve_device"),
    "precision": ("Numerics",),
    "prefix_store": ("PrefixStore",),
    "prefixes": ("Prefixes",),
    "results": ("EpochResult", "FitResult", "State"),
    "seeds": ("number_of",),
    "structure": ("Structure", "backbone_of", "from_scratch", "most_unfrozen", "structure_of", "structure_part"),
    "weights": ("load_backbone",),
}
__getattr__ = load_on_use(__name__, _NAMES)
