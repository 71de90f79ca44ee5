"""Whether the measurement itself can be trusted.

Each check is pass, warn or fail with counts. A failed one makes the audit a failed measurement: Carlini et al. (2019),
arXiv:1902.06705, and Pintor et al. (2022), arXiv:2106.09947, list most of those on attacks.
"""

from demur.analysis.checks.attacks import attacks
from demur.analysis.checks.data import copies, data
from demur.analysis.checks.directions import directions
from demur.analysis.checks.maps import maps
from demur.analysis.checks.promise import promise
from demur.analysis.checks.trials import trials
from demur.analysis.results import Check
from demur.analysis.run import Run
from demur.records import read_json


def checks(run: Run) -> tuple[Check, ...]:
    """Every check the run has data for, the model's first, the attacks' and the maps' next, the promise's last.

    Records speak of all attacked images, so a trial of the same name on some of them is left out.
    """
    door = [Check(**entry) for entry in read_json(run.path / "facts" / "door.json")]
    recorded = [*door, *data(run), *copies(run), *attacks(run), *directions(run), *maps(run)]
    names = {check.name for check in recorded}
    tried = (check for check in trials(run) if check.name not in names)
    return (*recorded, *tried, *promise(run))
