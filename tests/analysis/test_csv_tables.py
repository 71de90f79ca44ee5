"""Tables as files: what was written can be read back, every number with its ends."""

import math
from pathlib import Path

import polars as pl
import pytest
from tests.analysis import perturbation_runs as made
from tests.report import perturbation_results as made_up

from demur.analysis import analyse
from demur.analysis.csv_tables import csv_tables, flat, table_files
from demur.analysis.image_tables import image_tables
from demur.analysis.robustness.censored_quantiles import CensoredQuantile
from demur.analysis.robustness.minimal_perturbation import ClassSearch, perturbation_tables
from demur.analysis.run_folder import Run
from demur.seal import write_sealed

GOLDEN = Path(__file__).parents[1] / "golden" / "run-v1"
FILES = {
    *(f"epsilon{table}.csv" for table in ("", "-per-class", "-confusions", "-curve", "-comparisons")),
    *(
        f"attribution-{table}.csv"
        for table in ("maps", "measures", "localisations", "agreements", "sanity", "map-classes")
    ),
    *(f"attribution-{table}.csv" for table in ("regions", "region-classes", "occlusions", "region-agreements")),
    *("trust.csv", "lipschitz.csv", "lipschitz-network.csv"),
    *("coverage.csv", "coverage-conditions.csv"),
}
IMAGES = {"risk-coverage", "confusion", "flips", "minimal-perturbations"}
ALWAYS = {
    f"{name}.csv"
    for name in (
        *("conditions", "accuracy-by-eps", "failure-table", "classes", "class-answers", "confusion-pairs", "slices"),
        *("calibration", "gallery", "direction", "direction-at-prevalence", "wrong-labels", "wrong-label-pairs"),
        *("signals", "signal-contests", "signal-parts", "rocs", "histograms", "rejections"),
        "attack-detection",
        *("checks", "gates", "guarantees", "guarantee-parts", "label-needs", "preprocessing"),
        *("attacks", "robustness", "robustness-curve", "robustness-per-class", "robustness-stages"),
    )
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return perturbation_tables(Run(made.run(tmp_path_factory.mktemp("csv") / "run")))


@pytest.fixture(scope="module")
def results(found):
    tables = {
        "attribution": made_up.where(),
        "trust": made_up.trust(),
        "lipschitz": made_up.lipschitz(),
    }
    return analyse(GOLDEN).model_copy(update={"epsilon": found, **tables})


def test_tables_of_what_was_not_measured_are_left_out():
    bare = analyse(GOLDEN).model_copy(update={"coverage_loss": None})
    assert not set(csv_tables(bare)) & FILES
    assert set(csv_tables(bare)) <= ALWAYS


def test_every_table_has_its_file(results):
    assert set(csv_tables(results)) >= FILES - {"attribution-map-classes.csv"}
    assert set(csv_tables(results)) <= FILES | ALWAYS


def test_what_is_written_is_read_back(results, tmp_path):
    files = table_files(Run(GOLDEN), results)
    write_sealed(tmp_path, files)
    tables = {**csv_tables(results), **dict(image_tables(Run(GOLDEN)))}
    assert set(dict(image_tables(Run(GOLDEN)))) <= {f"{name}.csv" for name in IMAGES}
    for file, (name, table) in zip(files, tables.items(), strict=True):
        path = tmp_path / file
        assert path == tmp_path / "tables" / name
        back = pl.read_csv(path, infer_schema_length=None)
        assert back.columns == table.columns
        assert len(back) == len(table) > 0
        assert "NaN" not in path.read_text().split(",")


def test_a_line_per_search_and_class(results, found):
    table = csv_tables(results)["epsilon-per-class.csv"]
    assert len(table) == sum(len(search.per_class) for search in found)
    for line in table.to_dicts():
        (search,) = (each for each in found if each.condition == line["search"])
        (row,) = (each for each in search.per_class if each.name == line["name"])
        assert (line["norm"], line["n"], line["wrong"], line["rank"]) == (search.norm, row.n, row.wrong, row.rank)
        for name in ("lower", "median", "upper"):
            reach = getattr(row, name)
            for end in ("low", "high"):
                number = getattr(reach, end)
                assert line[f"{name}_{end}"] == (None if math.isnan(number) else number)
            assert (line[name], line[f"{name}_n"]) == (reach.value if reach.value == reach.value else None, reach.n)
            assert line[f"{name}_above"].split() == list(reach.above)


def test_the_model_leads_the_table_of_trust(results):
    lines = csv_tables(results)["trust.csv"].to_dicts()
    trust = results.trust
    assert [line["name"] for line in lines] == [trust.model.name, *(row.name for row in trust.classes)]
    assert {line["difference_of"] for line in lines} == {trust.difference_of}


def test_layers_of_one_constant_are_named_in_one_cell(results):
    table = csv_tables(results)["lipschitz.csv"]
    assert table["layers"].to_list() == [" ".join(layer.layers) for layer in results.lipschitz.layers]
    assert table["norm"].to_list() == [layer.norm for layer in results.lipschitz.layers]


def test_tables_within_are_left_out(found):
    assert not {"per_class", "confusions", "curve", "comparisons", "ecdf", "ranking"} & set(flat(found[0]))


def test_a_cell_says_what_lies_above():
    reach = CensoredQuantile(value=0.5, low=0.1, high=0.5, above=("value", "high"), n=9)
    row = ClassSearch(name="ant", n=9, wrong=0, censored=6, lower=reach, median=reach, upper=reach, rank=1)
    assert flat(row)["median_above"] == "value high"
