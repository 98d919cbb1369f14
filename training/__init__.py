"""The training core: data -> batches -> model -> epochs. Knows nothing of searching."""

from . import _openmp as _openmp
from .augment import augment as augment
from .availability import Runnable as Runnable
from .availability import runnable as runnable
from .backbones import Backbone as Backbone
from .batches import number_of as number_of
from .cache import cache_folder as cache_folder
from .checkpoint import Checkpoint as Checkpoint
from .checkpoint import has_checkpoint as has_checkpoint
from .checkpoint import load_checkpoint as load_checkpoint
from .data import RENDERED as RENDERED
from .data import Data as Data
from .data import labelled_photos as labelled_photos
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
from .files import atomic_write_json as atomic_write_json
from .fit import fit as fit
from .intervals import Proportion as Proportion
from .intervals import grouped_accuracy as grouped_accuracy
from .intervals import wilson as wilson
from .numerics import Measured as Measured
from .numerics import Numerics as Numerics
from .numerics import measure_numerics as measure_numerics
from .numerics import resolve_device as resolve_device
from .results import EpochResult as EpochResult
from .results import FitResult as FitResult
from .results import State as State
from .weights import load_backbone as load_backbone

__owner__ = "pomona"
