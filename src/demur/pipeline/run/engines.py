"""The engines by name."""

import importlib.util
from pathlib import Path

from demur.errors import missing_extra
from demur.pipeline.run.crew import Crew
from demur.pipeline.run.engine import Engine
from demur.pipeline.run.resources import Resources


def check_engine(resources: Resources) -> None:
    """Refuse an engine that cannot be used, before anything is opened for it.

    Raises:
        MissingExtraError: what it needs is not installed.
    """
    if resources.engine == "ray" and importlib.util.find_spec("ray") is None:
        raise missing_extra("the engine ray", "ray")


def engine_of(resources: Resources, folder: Path) -> Engine:
    """The engine that an audit is to use, with no worker yet.

    Args:
        resources: names the engine and what it may use.
        folder: the run folder.

    Raises:
        InputError: there is nobody at its address.
    """
    if resources.engine == "ray":
        from demur.pipeline.run.ray_engine import RayEngine

        return RayEngine(resources, folder)
    return Crew(resources.threads)
