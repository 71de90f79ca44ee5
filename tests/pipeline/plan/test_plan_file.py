import tomllib
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demur.errors import InputError, UnknownNameError
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.plan.plan_tables import Conditions, DataPlan, ModelPlan, Policies, Purpose, Signals, SmoothingPlan

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLANS = st.builds(
    Plan,
    seed=st.integers(0, 2**31),
    batch=st.integers(2, 512),
    purpose=st.builds(Purpose, intended_use=st.none() | TEXT, threat_model=st.none() | TEXT),
    model=st.builds(ModelPlan, address=TEXT, trust_labels=st.booleans()),
    data=st.builds(DataPlan, address=TEXT, limit=st.none() | st.integers(20, 10**6)),
    conditions=st.builds(
        Conditions,
        use=st.lists(st.sampled_from(["clean", "pgd(eps=2/255, keep='worst')", 'pgd(loss="margin", eps=1/4)'])).map(
            tuple
        ),
        attacked=st.integers(1, 9999),
    ),
    signals=st.builds(Signals, use=st.lists(st.sampled_from(["msp", "energy(temperature=2)"])).map(tuple)),
    policies=st.builds(Policies, use=st.lists(st.sampled_from(["rule", "certified(risk=0.05)"])).map(tuple)),
    smoothing=st.none() | st.builds(SmoothingPlan, sigma=st.floats(0.001, 10), radii=st.just(()) | st.just((0.5,))),
)
SECTIONS = {
    name: table
    for name, field in Plan.model_fields.items()
    for table in (field.annotation, *get_args(field.annotation))
    if hasattr(table, "model_fields")
}
NEEDED = {"guard": ['guard.folder="guards/one"']}
KEYS = [(name, key) for name, section in SECTIONS.items() for key in section.model_fields]


def file_with(tmp_path, text):
    path = tmp_path / "plan.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@settings(deadline=None)
@given(plan=PLANS)
def test_a_plan_reads_back_from_its_canonical_text(plan, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_bytes(plan.toml().encode())
    again = read_plan(path)
    assert again == plan
    assert again.toml() == plan.toml()
    assert again.sha256 == plan.sha256


def test_toml_escapes_one_character_more_than_json(tmp_path):
    plan = Plan(purpose=Purpose(intended_use='tab\t, "quotes", \x7f and ü'))
    assert read_plan(file_with(tmp_path, plan.toml())) == plan


def test_the_hash_of_the_defaults_is_stable_and_every_key_changes_it():
    assert Plan().sha256 == Plan().sha256
    changes = ["seed=1", "batch=64", 'purpose.population="x"', "model.trust_labels=true", "data.limit=50"]
    changes += ["conditions.attacked=7", 'signals.use=["msp"]', 'policies.use=["rule"]', 'conditions.use=["clean"]']
    found = {read_plan(None, [change]).sha256 for change in changes}
    assert len(found | {Plan().sha256}) == len(changes) + 1


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_an_unknown_key_in_any_section_offers_the_nearest(section, key):
    with pytest.raises(UnknownNameError) as caught:
        read_plan(None, [*NEEDED.get(section, ()), f'{section}.{key}s="x"'])
    assert f"unknown plan key in [{section}] '{key}s'" in str(caught.value)
    assert f"Did you mean '{key}'?" in str(caught.value)


@pytest.mark.parametrize("key", Plan.model_fields)
def test_an_unknown_key_at_the_top_offers_the_nearest(key):
    with pytest.raises(UnknownNameError, match=f"unknown plan key '{key}x'. Did you mean '{key}'"):
        read_plan(None, [f"{key}x=1"])


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("data.limit=2000", 2000),
        (" data.limit = 2_000 ", 2000),
    ],
)
def test_settings_are_read_as_toml(setting, expected):
    assert read_plan(None, [setting]).data.limit == expected


def test_settings_that_are_no_toml_are_text():
    assert read_plan(None, ["data.address=parquet:a/b.parquet"]).data.address == "parquet:a/b.parquet"
    assert read_plan(None, ["data.address=parquet:f?label=y"]).data.address == "parquet:f?label=y"
    assert read_plan(None, ['conditions.use=["clean", "fgsm(eps=1/255)"]']).conditions.use == (
        "clean",
        "fgsm(eps=1/255)",
    )


def test_the_later_wins_file_then_settings_then_changes(tmp_path):
    path = file_with(tmp_path, "seed = 1\nbatch = 32\n[data]\nlimit = 100\n")
    found = read_plan(path, ["seed=2", "data.limit=200", "data.limit=201"], {"data.limit": 300})
    assert (found.seed, found.batch, found.data.limit) == (2, 32, 300)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.limit", "--set takes KEY=VALUE"),
        ("data.limit=3", "plan key 'data.limit': input should be greater than or equal to 20; got 3."),
        ("data.limit='100'", "plan key 'data.limit'"),
        ("batch=1", "plan key 'batch'"),
        ("seed=0.5", "plan key 'seed'"),
        ("version=2", "plan key 'version'"),
        ("model.trust_labels=1", "plan key 'model.trust_labels'"),
        (
            "data.positive=8",
            "plan key 'data.positive': input should be a valid string; got 8. Write data.positive=\"8\"",
        ),
        ('policies.use=["certified(risk=2)"]', "risk"),
        ("conditions.use=clean", "plan key 'conditions.use': input should be a list, in brackets; got 'clean'."),
        ("lipschitz=3", "plan key 'lipschitz': input should be a table of keys; got 3."),
        ("conditions.use=[3]", "plan key 'conditions.use.0'"),
        ("model=fashion", "plan key 'model'"),
        ("seed.deep=3", "plan key 'seed'"),
        ('conditions.use=["pgd("]', "cannot read the name 'pgd('"),
        ('conditions.use=["pdg(eps=1)"]', "unknown condition 'pdg'. Did you mean 'pgd'?"),
        ('signals.use=["entropi"]', "unknown signal 'entropi'. Did you mean 'entropy'?"),
        ('policies.use=["rul"]', "unknown policy 'rul'. Did you mean 'rule'?"),
    ],
)
def test_a_setting_that_breaks_a_rule_says_which(setting, words):
    with pytest.raises(InputError) as caught:
        read_plan(None, [setting])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_where_a_table_is_needed_is_named(tmp_path):
    with pytest.raises(InputError, match=r"plan key 'data.limit': 'data' is a value, not a table"):
        read_plan(file_with(tmp_path, "data = 3"), ["data.limit=100"])


@pytest.mark.parametrize("content", ["seed = = 2", b"\xff\xfe", "seed = 1\nseed = 2"])
def test_a_file_that_is_not_toml_is_named(tmp_path, content):
    with pytest.raises(InputError, match=r"plan.toml is not valid TOML"):
        read_plan(file_with(tmp_path, content))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the plan .*none.toml: No such file"):
        read_plan(tmp_path / "none.toml")
    with pytest.raises(InputError, match=r"cannot read the plan .*: it is a folder"):
        read_plan(tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("certified(risk=0.02, delta=0.05)", "rule"), ("certified(risk=0.1, delta=0.05)", "rule")),
        (("rule",), ("certified(risk=0.1, delta=0.05)", "rule")),
        ((), ("certified(risk=0.1, delta=0.05)",)),
        (
            ("certified(delta=0.01)", "certified"),
            ("certified(risk=0.1, delta=0.01)", "certified(risk=0.1, delta=0.05)"),
        ),
        (("certified(risk=0.3)", "certified(risk=0.4)"), ("certified(risk=0.1, delta=0.05)",)),
        (
            ("certified_by_site(column='camera', delta=0.1)", "certified_by_class(risks=['a=0.01', 'b=0.2'])", "rule"),
            (
                "certified_by_site(risk=0.1, delta=0.1, column='camera')",
                "certified_by_class(risk=0.1, delta=0.05, risks=['a=0.01', 'b=0.2'])",
                "rule",
            ),
        ),
        (("capacity",), ("certified(risk=0.1, delta=0.05)", "capacity")),
    ],
)
def test_a_risk_replaces_that_of_every_certified_policy(before, after):
    plan = Plan(policies=Policies(use=before), seed=5)
    assert plan.at_risk(0.1).policies.use == after
    assert plan.at_risk(0.1).seed == 5


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("certified(risk=0.02, delta=0.05)", "rule"), ("capacity(coverage=0.8, delta=0.05)", "rule")),
        (("rule",), ("capacity(coverage=0.8, delta=0.05)", "rule")),
        (("capacity(coverage=0.5)",), ("capacity(coverage=0.8, delta=0.05)",)),
        (
            ("certified(delta=0.01)", "certified_by_class"),
            ("capacity(coverage=0.8, delta=0.01)", "capacity(coverage=0.8, delta=0.05)"),
        ),
    ],
)
def test_a_coverage_replaces_everything_certified(before, after):
    assert Plan(policies=Policies(use=before)).at_coverage(0.8).policies.use == after


@pytest.mark.parametrize("coverage", [0, -0.1, 1.01, 85])
def test_a_coverage_is_a_share(coverage):
    with pytest.raises(InputError, match=r"the coverage must be a share above 0 .* write 0.85"):
        Plan().at_coverage(coverage)


def test_a_risk_keeps_all_its_digits():
    assert Plan().at_risk(0.01234567).policies.use[0] == "certified(risk=0.01234567, delta=0.05)"


def test_the_canonical_text_writes_every_default_out():
    tree = tomllib.loads(Plan().toml())
    assert tree["version"] == 1
    assert tree["model"] == {"address": "fashion", "trust_labels": False}
    assert set(tree) == set(Plan.model_fields) - {"guard", "smoothing"}, "neither is there by default"
