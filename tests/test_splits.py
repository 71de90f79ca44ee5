import hashlib
from collections import Counter

import pytest

from demur.splits import split_of, unit_hashes


def hashes(count, salt=""):
    return [hashlib.sha256(f"{salt}{number}".encode()).hexdigest() for number in range(count)]


@pytest.mark.parametrize(
    ("rows", "shares"),
    [
        (20_000, {"fit": 0.05, "tune": 0.15, "certify": 0.40, "test": 0.40}),
        (3_000, {"fit": 0.05, "tune": 0.15, "certify": 0.40, "test": 0.40}),
        (2_999, {"tune": 0.20, "certify": 0.50, "test": 0.30}),
    ],
)
def test_roles_have_their_shares(rows, shares):
    found = Counter(split_of(unit, rows) for unit in unit_hashes(hashes(20_000), [None] * 20_000))
    assert set(found) == set(shares)
    for split, share in shares.items():
        assert found[split] / 20_000 == pytest.approx(share, abs=0.012)


@pytest.mark.parametrize(
    ("place", "split"), [(0.0499, "fit"), (0.0501, "tune"), (0.1999, "tune"), (0.2001, "certify"), (0.6001, "test")]
)
def test_the_edges_of_the_roles(place, split):
    assert split_of(f"{int(place * 2**64):016x}" + "0" * 48, 10_000) == split


def test_a_role_does_not_depend_on_the_other_rows():
    contents = hashes(500)
    alone = [unit_hashes([content], [None])[0] for content in contents]
    assert unit_hashes(contents, [None] * 500) == alone
    assert unit_hashes(contents[::-1], [None] * 500) == alone[::-1]


def test_equal_contents_share_a_unit():
    first, second = hashes(2)
    one, other, again = unit_hashes([first, second, first], [None] * 3)
    assert one == again != other


def test_a_group_is_one_unit_whatever_it_contains():
    together = unit_hashes(hashes(4), ["lot 1", "lot 2", "lot 1", None])
    assert together[0] == together[2]
    assert len(set(together)) == 3
    assert unit_hashes(hashes(1, "other"), ["lot 1"]) == [together[0]]


def test_duplicates_link_groups_and_rows_into_chains():
    a, b, c, d = hashes(4)
    contents = [a, b, b, c, c, d]
    groups = ["p", "p", "q", "q", None, "r"]
    units = unit_hashes(contents, groups)
    assert len(set(units[:5])) == 1
    assert units[5] != units[0]
    assert units[0] == min(*unit_hashes([a], ["p"]), *unit_hashes([a], ["q"]))
    assert unit_hashes(contents[::-1], groups[::-1]) == [*units][::-1]


def test_chains_agree_with_a_slow_search():
    contents = [hashes(40)[(7 * row * row) % 40] for row in range(60)]
    groups = [None if row % 3 else f"g{(row * row) % 11}" for row in range(60)]
    reached = [{row} for row in range(60)]
    for _ in range(60):
        for row in range(60):
            for other in range(60):
                linked = contents[row] == contents[other] or (groups[row] is not None and groups[row] == groups[other])
                if linked and reached[row] != reached[other]:
                    reached[row] = reached[other] = reached[row] | reached[other]
    units = unit_hashes(contents, groups)
    for row in range(60):
        assert {other for other in range(60) if units[other] == units[row]} == reached[row]
