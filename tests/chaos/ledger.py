"""What drivers say of each trial, and what the journal holds after each of them, held against what is promised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from .said import Said

# How often a trial's processes may be killed before it gets any further: then it is given up. Kills here come from
# outside, and no trial is to blame for them.
_MOST_KILLS = 10


@dataclass
class Tries:
    """A trial under way: its recorded epochs, and how often in a row it was killed without one more of them.

    It is `marked` while it is trained. This counts on its own what `studies/attempts.py` counts in the journal.
    """

    recorded: int = 0
    kills: int = 0
    recorded_then: int = 0
    marked: bool = True

    @staticmethod
    def of(trial: FrozenTrial) -> Tries:
        _, recorded_then, kills = (*trial.system_attrs.get("pomona:lost", (0, 0)), 0)[:3]
        marked = bool(trial.system_attrs.get("pomona:trains"))
        return Tries(len(trial.intermediate_values), kills, recorded_then, marked)

    def lose(self) -> bool:
        """The process that trained it is gone. Whether it is given up."""
        if self.marked:
            self.kills = 1 if self.recorded > self.recorded_then else self.kills + 1
            self.recorded_then, self.marked = self.recorded, False
        return self.kills >= _MOST_KILLS


class Ledger:
    """Keeps the trials of a study through the lives of its drivers; `problems` are promises that were not kept."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.told: dict[int, Said] = {}
        """How the trials ended that a driver told of."""
        self.unheard: set[int] = set()
        """Those whose ends are in the journal, though the driver ended before it could tell of them."""
        self.given_up: set[int] = set()
        """Those that have to be given up, as they were killed so often without progress."""
        self.losses = 0
        """How often a trial was lost with its worker."""
        self.repeated = 0
        """Epochs that were trained once more."""
        self._tries: dict[int, Tries] = {}
        self._saved: dict[int, int] = {}
        self._ending: set[int] = set()
        self._ended: dict[int, object] = {}
        # The last epoch that was heard of each trial since it was given to a worker.
        self._heard: dict[int, int] = {}

    @property
    def ended(self) -> int:
        return len(self.told) + len(self.unheard)

    def goes_on(self, number: int) -> bool:
        """Whether a trial has not ended, and is not to be given up."""
        return not (number in self.told or number in self._ending or number in self.given_up)

    # --- between two drivers

    def left(self, trials: Iterable[FrozenTrial], *, unheard: int) -> None:
        """What the journal holds while no driver runs; the last one may not have told of so many ends."""
        known = set(self.told) | self.unheard
        self._ending.clear()
        finished = {trial.number: trial for trial in trials if trial.state.is_finished()}
        for number in sorted(known - finished.keys()):
            self.problems.append(f"trial {number} had ended, and the journal does not know")
        for number, trial in finished.items():
            self._check_unchanged(number, (trial.state, trial.values, trial.intermediate_values, trial.params))
        new = finished.keys() - known
        if len(new) > unheard:
            self.problems.append(f"trials {sorted(new)} ended at once, and no driver told of them")
        self.unheard |= new
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                self._left_under_way(trial)

    def _left_under_way(self, trial: FrozenTrial) -> None:
        known, tries = self._tries.get(trial.number), Tries.of(trial)
        if known is not None and known.recorded > tries.recorded:
            self.problems.append(f"trial {trial.number} had {known.recorded} epochs, the journal has {tries.recorded}")
        self._tries[trial.number] = tries
        if tries.lose():
            self.given_up.add(trial.number)

    def _check_unchanged(self, number: int, ending: object) -> None:
        if self._ended.setdefault(number, ending) != ending:
            self.problems.append(f"trial {number} has ended, and is another one since")

    # --- while a driver runs

    def take(self, said: Said) -> None:
        match said.event:
            case "job":
                self._begins(said.trial)
            case "epoch":
                self._trained(said.trial, said.epoch)
            case "recorded":
                tries = self._tries[said.trial]
                tries.recorded = max(tries.recorded, said.epoch)
                if said.ended:
                    self._ending.add(said.trial)
            case "saved":
                self._saved[said.trial] = said.epoch
            case "ended":
                self._ending.add(said.trial)
            case "lost":
                self._lost(said.trial)
            case "outcome":
                self._ends(said)

    def _begins(self, number: int) -> None:
        if number in self._ended or number in self.told or number in self.given_up:
            self.problems.append(f"trial {number} is trained again, though it had ended")
        self._tries.setdefault(number, Tries()).marked = True
        self._heard.pop(number, None)

    def _trained(self, number: int, epoch: int) -> None:
        """It goes on after the last epoch that it was saved with, which is said again, or where a save was the last
        thing that its worker did, after one more; and then epoch by epoch."""
        recorded, saved = self._tries[number].recorded, self._saved.get(number, 0)
        if (last := self._heard.get(number)) is None:
            fits = max(saved, 1) <= epoch <= recorded + 1
        else:
            fits = epoch == last + 1
        if not fits:
            where = f"it was saved after {saved}, recorded until {recorded}, and trained until {last} before"
            self.problems.append(f"epoch {epoch} of trial {number} came out of turn: {where}")
        self.repeated += epoch <= recorded and (last is not None or epoch != saved)
        self._heard[number] = epoch

    def _lost(self, number: int) -> None:
        if number in self.told or number in self._ending:
            return
        self.losses += 1
        if self._tries[number].lose():
            self.given_up.add(number)

    def _ends(self, said: Said) -> None:
        if said.trial in self.told or said.trial in self.unheard:
            self.problems.append(f"the end of trial {said.trial} was told twice")
        self.told[said.trial] = said
