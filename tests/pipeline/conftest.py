import pytest
from tests import tiny


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of an uninterrupted audit; not to be written into."""
    return tiny.run(tmp_path_factory.mktemp("audit") / "run")
