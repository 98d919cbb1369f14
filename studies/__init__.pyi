"""What `studies` offers, by the modules that define it. They are imported when a name of theirs is first used."""

from .administration import delete_study as delete_study
from .administration import list_studies as list_studies
from .administration import rename_study as rename_study
from .confirmation import Confirmation as Confirmation
from .confirmation import prepare_confirmation as prepare_confirmation
from .confirmed import Confirmed as Confirmed
from .ensemble import Selection as Selection
from .ensemble_row import chosen_of as chosen_of
from .ensemble_row import keep_speed as keep_speed
from .ensemble_row import with_ensemble as with_ensemble
from .leaderboard import curves as curves
from .leaderboard import leaderboard as leaderboard
from .leaderboard import leaderboard_rows as leaderboard_rows
from .leaderboard import same_params as same_params
from .leaderboard import to_cells as to_cells
from .leaderboard import to_csv as to_csv
from .leaderboard import to_frame as to_frame
from .leaderboard import to_json as to_json
from .plan import Interrupted as Interrupted
from .plan import Outcome as Outcome
from .plan import Plan as Plan
from .plan import Progress as Progress
from .portfolio import portfolio_for as portfolio_for
from .records import TrialRecord as TrialRecord
from .request import ResumeRequest as ResumeRequest
from .request import SearchRequest as SearchRequest
from .search import prepare_resume as prepare_resume
from .search import prepare_search as prepare_search
from .search_run import Search as Search
from .status import status_of as status_of
from .storage import open_storage as open_storage
from .study import Study as Study
from .study import open_study as open_study

__owner__: str
