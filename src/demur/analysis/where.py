"""Where the model looks, put together."""

from demur.analysis.looked import Where
from demur.analysis.maps import first_search, map_rows
from demur.analysis.region_agreement import region_agreements
from demur.analysis.regions import regions
from demur.analysis.run import Run


def where(run: Run) -> Where | None:
    """Maps, object against background and how both agree; None where the plan asked for neither."""
    maps, sides = map_rows(run), regions(run)
    if not maps and not sides:
        return None
    search = first_search(run) if maps else None
    return Where(
        maps=maps,
        regions=sides,
        agreements=region_agreements(run),
        epsilon_of=None if search is None else search["name"],
    )
