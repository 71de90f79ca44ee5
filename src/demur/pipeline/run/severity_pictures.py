"""One test image at every severity of a few corruptions, for the first screen: what severity 3 looks like."""

from itertools import groupby

from demur.pipeline.job import Job
from demur.pipeline.run.extra_facts import webp
from demur.pipeline.run.run_writer import RunWriter

_FAMILIES, _LEVELS = 4, 5
"""As many kinds as the first screen has lines, and as many severities as a line has places."""

FACTS = "facts/severities.json"


def save_severity_pictures(job: Job, folder: RunWriter, row: int) -> None:
    """Write `thumbs/severity-<n>.webp` and `facts/severities.json`: one image under the corruptions with severities.

    Args:
        job: whose conditions and images.
        folder: of the run.
        row: which image, by its place in the index; the one that `facts/corruptions.json` shows too.
    """
    sized = [each for each in job.conditions if each.kind == "corruption" and each.severity]
    by_family = [[*group] for _, group in groupby(sized, lambda each: each.family)]
    chosen = [each for group in by_family[:_FAMILIES] for each in group[:_LEVELS]]
    if not chosen:
        return
    x, _ = job.load([row])
    thumbs = {}
    for number, condition in enumerate(chosen):
        assert condition.corruption is not None
        picture = condition.corruption(x, job.keys([row], condition.name))[0]
        thumbs[condition.name] = f"severity-{number}.webp"
        folder.write({f"thumbs/{thumbs[condition.name]}": webp(picture.cpu())})
    folder.write_json(FACTS, thumbs)
