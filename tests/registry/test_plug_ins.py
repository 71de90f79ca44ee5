"""Names of installed packages: they are found, they shadow nothing, and a broken one breaks nobody else."""

import sys

import pytest
from tests.packages import install

import demur
from demur.errors import InputError, UnknownNameError
from demur.policies import dump_policy, load_policy
from demur.registry import Address, build, describe, kind_of, name_of, names, packages, parse, plug_ins, refusal
from demur.registry.lookup import resolve
from demur.testing import check_data, check_model, check_policy

MODULE = """
    from dataclasses import dataclass
    from typing import ClassVar

    @dataclass(frozen=True, kw_only=True)
    class Mine:
        \"\"\"Nothing: high when never.\"\"\"

        unit: ClassVar[str] = "none"
        scale: float = 1.0

        def __call__(self, evidence):
            return self.scale * evidence.logits.double()[:, 0]

    def function():
        pass
    """


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install packages into a folder on the path; their modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(name, entry_points, version="1.0", **modules):
        files = {f"{module}.py": text for module, text in modules.items()}
        for module in modules:
            monkeypatch.delitem(sys.modules, module, raising=False)
        return install(tmp_path, name, entry_points, files, version)

    return add


def test_a_name_of_a_package_works_like_one_of_demurs_own(installed):
    installed("mine", {"demur.signals": {"mine": "mine_signals:Mine"}}, "2.1", mine_signals=MODULE)
    assert "mine" in names("signal")
    assert kind_of("mine", "attack", "signal") == "signal"
    signal = build("signal", "mine(scale=2.0)")
    assert describe("mine", signal) == name_of("signal", signal) == "mine(scale=2.0)"
    nested = build("signal", "stack(signals=[msp, mine(scale=3.0)])")
    assert name_of("signal", nested) == "stack(signals=[msp, mine(scale=3.0)])"
    assert packages([parse("stack(signals=[msp, mine])")]) == {"mine": "2.1"}
    assert packages([parse("stack(signals=[msp, knn])")]) == {}


def test_a_class_that_its_package_shows_elsewhere_is_named_too(installed):
    shown = {"mine_shown": "from mine_inside import Mine", "mine_inside": MODULE}
    installed("mine", {"demur.signals": {"mine": "mine_shown:Mine"}}, **shown)
    assert name_of("signal", build("signal", "mine")) == "mine"


def test_an_install_is_noticed_by_a_process_that_runs(installed):
    assert "mine" not in names("signal")
    installed("mine", {"demur.signals": {"mine": "mine_signals:Mine"}}, mine_signals=MODULE)
    assert "mine" in names("signal")


def test_an_unknown_name_offers_those_of_packages(installed):
    installed("mine", {"demur.signals": {"mindful": "mine_signals:Mine"}}, mine_signals=MODULE)
    with pytest.raises(UnknownNameError, match="Did you mean 'mindful'"):
        build("signal", "mindfull")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("broken_at_import:Mine", r"RuntimeError: not today"),
        ("not_there_at_all:Mine", r"No module named 'not_there_at_all'"),
        ("mine_signals:Others", r"has no attribute 'Others'"),
        ("mine_signals:function", r"must be a frozen dataclass"),
    ],
)
def test_a_broken_package_is_named_when_it_is_used_and_breaks_nobody_else(installed, line, why):
    installed("broken", {"demur.signals": {"poor": line}}, broken_at_import="raise RuntimeError('not today')")
    installed("mine", {"demur.signals": {"mine": "mine_signals:Mine"}}, mine_signals=MODULE)
    assert {"poor", "mine"} <= set(names("signal"))
    assert build("signal", "mine(scale=2.0)").scale == 2
    assert name_of("signal", build("signal", "mine")) == "mine"
    with pytest.raises(InputError, match=f"the signal 'poor' of broken 1.0 .*{why}"):
        build("signal", "poor")


@pytest.mark.parametrize(
    ("group", "kind", "name", "why"),
    [
        ("demur.signals", "signal", "msp", "'msp' is a name of demur's own"),
        ("demur.corruptions", "corruption", "pgd", "'pgd' is a name of demur's own"),
        ("demur.attacks", "attack", "clean", "'clean' is a name of demur's own"),
        ("demur.maps", "map", "centred", "'centred' is a name of demur's own"),
        ("demur.data", "data", "fashion", "'fashion' is a name of demur's own"),
        ("demur.signals", "signal", "my-signal", "'my-signal' cannot be written in a plan"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_listed(installed, group, kind, name, why):
    before = names(kind)
    installed("greedy", {group: {name: "mine_signals:Mine"}}, mine_signals=MODULE)
    (claim,) = plug_ins(kind)
    assert refusal(claim).startswith(why)
    assert names(kind) == before
    if name in before:
        assert resolve(kind, name).__module__.startswith("demur.")


@pytest.mark.parametrize("groups", [("demur.attacks", "demur.attacks"), ("demur.attacks", "demur.corruptions")])
def test_two_packages_with_one_name_are_named(installed, groups):
    for package, group in zip(("one", "other"), groups, strict=True):
        installed(package, {group: {"twice": "mine_signals:Mine"}}, mine_signals=MODULE)
    assert "twice" not in names("attack")
    with pytest.raises(InputError, match=r"added more than once, by one 1\.0 and other 1\.0: uninstall one"):
        build("attack", "twice")


def test_schemes_of_packages_are_read(installed):
    installed("mine", {"demur.data": {"my-lake": "mine_signals:function"}}, mine_signals=MODULE)
    assert Address.parse("my-lake:place?x=1", "data") == Address("my-lake", "place", None, {"x": "1"})
    assert resolve("data", "my-lake").__name__ == "function"


POLICY = """
    from dataclasses import dataclass
    import numpy as np
    from demur.policies.policy import column, explain

    @dataclass(frozen=True, kw_only=True)
    class Half:
        \"\"\"Answers iff msp is at most a bar.\"\"\"

        bar: float = 0.5
        signals = ("msp",)

        def accepts(self, scores):
            return column(scores, "msp") <= self.bar

        def reasons(self, scores):
            return explain(column(scores, "msp"), self.bar, "msp")
    """


def test_a_policy_of_a_package_is_kept_by_its_name(installed):
    installed("halves", {"demur.policies": {"half": "halves:Half"}}, halves=POLICY)
    policy = build("policy", "half(bar=0.25)")
    assert dump_policy(policy) == {"policy": "half", "bar": 0.25}
    assert load_policy({"policy": "half", "bar": 0.25}) == policy
    check_policy("half(bar=0.25)")
    with pytest.raises(InputError, match="must have exactly bar"):
        load_policy({"policy": "half"})
    with pytest.raises(UnknownNameError, match="Did you mean 'half'"):
        load_policy({"policy": "hal", "bar": 0.25})


OPENED = """
    import torch
    import demur

    def open_few(address):
        x = torch.linspace(0, 1, 24 * 64).view(24, 1, 8, 8)
        return demur.from_tensors(x, torch.arange(24) % 2, classes="ab", name="few:" + address.location)

    def load_flat(address, classes, input_shape):
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, len(classes))).eval()
        return demur.Classifier(net, classes=classes, input_shape=input_shape)
    """


def test_data_and_models_of_a_package_are_opened_by_address(installed):
    groups = {"demur.data": {"few": "opened:open_few"}, "demur.models": {"flat": "opened:load_flat"}}
    installed("opened", groups, opened=OPENED)
    source = demur.open_data("few:24")
    assert source.address == "few:24"
    check_data("few:24")
    model = demur.load_model("flat", classes=source.classes, input_shape=source.input_shape)
    assert model.classes == ("a", "b")
    check_model("flat", classes=source.classes, input_shape=source.input_shape)
