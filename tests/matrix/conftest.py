"""The command line, a net and its images, as the tests of commands have them."""

from tests.cli.conftest import data, demur, factory, good

__all__ = ["data", "demur", "factory", "good"]
