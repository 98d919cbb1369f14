"""The training core: data -> batches -> model -> epochs. Knows nothing of searching.

Names are loaded when they are first used: a part of the core runs where only its own libraries are installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .machine.lazy import load_on_use

if TYPE_CHECKING:
    from .data import RENDERED as RENDERED
    from .data import Data as Data
    from .data import open_data as open_data
    from .data import splits_for as splits_for
    from .data.augment import augment as augment
    from .data.splits import Split as Split
    from .data.splits import Splits as Splits
    from .export.evaluate import Evaluation as Evaluation
    from .export.evaluate import Prediction as Prediction
    from .export.evaluate import evaluate as evaluate
    from .export.evaluate import predict as predict
    from .frozen.prefixes import Prefixes as Prefixes
    from .frozen.store import PrefixStore as PrefixStore
    from .lanes.checkpoint import Checkpoint as Checkpoint
    from .lanes.checkpoint import check_checkpoint_folder as check_checkpoint_folder
    from .lanes.checkpoint import has_checkpoint as has_checkpoint
    from .lanes.checkpoint import load_checkpoint as load_checkpoint
    from .lanes.fit import diverged as diverged
    from .lanes.fit import fit as fit
    from .lanes.fit import fit_lanes as fit_lanes
    from .lanes.fit import free_memory as free_memory
    from .lanes.fit import is_out_of_memory as is_out_of_memory
    from .lanes.group import LaneGroup as LaneGroup
    from .lanes.lane_state import LaneState as LaneState
    from .lanes.lane_state import load_lane as load_lane
    from .lanes.lane_state import save_lane as save_lane
    from .lanes.results import EpochResult as EpochResult
    from .lanes.results import FitResult as FitResult
    from .lanes.results import State as State
    from .machine.cache import cache_folder as cache_folder
    from .machine.device import resolve_device as resolve_device
    from .machine.environment import environment as environment
    from .machine.errors import Stop as Stop
    from .machine.files import atomic_write_bytes as atomic_write_bytes
    from .machine.files import write_versioned_json as write_versioned_json
    from .machine.interrupts import CheckStop as CheckStop
    from .machine.interrupts import SaveClock as SaveClock
    from .machine.interrupts import interrupt as interrupt
    from .machine.interrupts import never_stop as never_stop
    from .machine.interrupts import uninterrupted as uninterrupted
    from .machine.precision import Numerics as Numerics
    from .machine.seeds import number_of as number_of
    from .models.availability import Runnable as Runnable
    from .models.availability import runnable as runnable
    from .models.backbones import Backbone as Backbone
    from .models.numerics import Measured as Measured
    from .models.numerics import measure_numerics as measure_numerics
    from .models.spec import BackboneSpec as BackboneSpec
    from .models.spec import HeadSpec as HeadSpec
    from .models.spec import InputSpec as InputSpec
    from .models.spec import OptimizerSpec as OptimizerSpec
    from .models.spec import Phase as Phase
    from .models.spec import Run as Run
    from .models.spec import ScheduleSpec as ScheduleSpec
    from .models.spec import Spec as Spec
    from .models.spec import Structure as Structure
    from .models.spec import most_unfrozen as most_unfrozen
    from .models.spec import resolve as resolve
    from .models.spec import spec_of as spec_of
    from .models.spec import structure_part as structure_part
    from .models.weights import load_backbone as load_backbone
    from .scoring.intervals import Estimate as Estimate
    from .scoring.intervals import grouped_accuracy as grouped_accuracy
    from .scoring.intervals import wilson as wilson

__owner__ = "pomona"

# The imports above once more, as they happen.
_NAMES: dict[str, tuple[str, ...]] = {
    "data.augment": ("augment",),
    "models.availability": ("Runnable", "runnable"),
    "models.backbones": ("Backbone",),
    "machine.cache": ("cache_folder",),
    "lanes.checkpoint": ("Checkpoint", "check_checkpoint_folder", "has_checkpoint", "load_checkpoint"),
    "data": ("RENDERED", "Data", "open_data", "splits_for"),
    "data.splits": ("Split", "Splits"),
    "machine.environment": ("environment",),
    "machine.errors": ("Stop",),
    "export.evaluate": ("Evaluation", "Prediction", "evaluate", "predict"),
    "machine.files": ("atomic_write_bytes", "write_versioned_json"),
    "lanes.fit": ("diverged", "fit", "fit_lanes", "free_memory", "is_out_of_memory"),
    "scoring.intervals": ("Estimate", "grouped_accuracy", "wilson"),
    "machine.interrupts": ("CheckStop", "SaveClock", "interrupt", "never_stop", "uninterrupted"),
    "lanes.lane_state": ("LaneState", "load_lane", "save_lane"),
    "lanes.group": ("LaneGroup",),
    "machine.device": ("resolve_device",),
    "models.numerics": ("Measured", "measure_numerics"),
    "machine.precision": ("Numerics",),
    "frozen.store": ("PrefixStore",),
    "frozen.prefixes": ("Prefixes",),
    "lanes.results": ("EpochResult", "FitResult", "State"),
    "machine.seeds": ("number_of",),
    "models.spec": (
        *("BackboneSpec", "HeadSpec", "InputSpec", "OptimizerSpec", "Phase", "Run", "ScheduleSpec", "Spec"),
        *("Structure", "most_unfrozen", "resolve", "spec_of", "structure_part"),
    ),
    "models.weights": ("load_backbone",),
}
__getattr__ = load_on_use(__name__, _NAMES)
