"""The commands put together. Heavy imports happen inside the commands, so that `--help` is quick."""

from __future__ import annotations

import typer

from .commands.bench import bench
from .commands.cache import cache
from .commands.dashboard import dashboard
from .commands.data import data
from .commands.data_get import get
from .commands.evaluate import evaluate
from .commands.export import export
from .commands.leaderboard import leaderboard
from .commands.predict import predict
from .commands.resume import resume
from .commands.search import search
from .commands.status import status
from .commands.studies import studies
from .commands.tasks import tasks
from .commands.train import train

COMMANDS = (tasks, search, resume, status, leaderboard, dashboard, train, evaluate, predict, export, cache)

app = typer.Typer(
    name="pomona",
    help="Search the hyperparameters of transfer-learning tasks, and use what was found.",
    epilog="Example: pomona search fruit --data photos --timeout 10m, then pomona leaderboard fruit-1",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in COMMANDS:
    app.command()(_command)
data.command()(get)
app.add_typer(data)
app.add_typer(studies)
app.add_typer(bench)
