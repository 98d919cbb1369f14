"""The study runner: Optuna storage, samplers, engines, leaderboard."""

from .leaderboard import curves as curves
from .leaderboard import leaderboard as leaderboard
from .leaderboard import same_params as same_params
from .leaderboard import to_cells as to_cells
from .leaderboard import to_csv as to_csv
from .leaderboard import to_json as to_json
from .leaderboard import to_rows as to_rows
from .plan import Interrupted as Interrupted
from .plan import Outcome as Outcome
from .plan import Plan as Plan
from .plan import Progress as Progress
from .records import TrialRecord as TrialRecord
from .search import Search as Search
from .search import SearchRequest as SearchRequest
from .search import open_study as open_study
from .search import prepare_resume as prepare_resume
from .search import prepare_search as prepare_search
from .storage import open_storage as open_storage
from .study import Study as Study

__owner__ = "pomona"
