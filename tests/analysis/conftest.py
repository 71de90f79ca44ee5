import pytest
from tests import tiny

from demur.analysis import analyse


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of a finished audit; not to be written into."""
    return tiny.run(tmp_path_factory.mktemp("analysis") / "run")


@pytest.fixture(scope="session")
def results(folder):
    return analyse(folder)
