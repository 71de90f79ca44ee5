"""The engines by name."""

from pathlib import Path

from demur.pipeline.run.crew import Crew
from demur.pipeline.run.engine import Engine
from demur.pipeline.run.resources import Resources


def engine_of(resources: Resources, folder: Path) -> Engine:
    """The engine that an audit is to use, with no worker yet.

    Args:
        resources: names the engine and what it may use.
        folder: the run folder.

    Raises:
        MissingExtraError: what the engine needs is not installed.
        InputError: there is nobody at its address.
    """
    if resources.engine == "ray":
        from demur.pipeline.run.ray_engine import RayEngine

        return RayEngine(resources, folder)
    return Crew(resources.threads)
