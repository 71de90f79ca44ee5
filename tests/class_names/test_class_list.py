"""Names of classes come with commas between, from a file, or from the list of ImageNet."""

import pytest

from demur.class_names import class_list, is_class_map, read_class_map
from demur.errors import AddressError


def test_names_stand_in_the_address_or_in_a_file(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("\ufefftench, Tinca tinca\n\n  great  white shark \ncrane\ncrane\n", encoding="utf-8")
    assert class_list("cat,dog") == ("cat", "dog")
    assert class_list(f"@{file}") == ("tench, Tinca tinca", "great white shark", "crane (1)", "crane (2)")
    assert len(class_list("imagenet")) == 1000


def test_a_synset_before_every_name_is_no_part_of_it(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("n01440764\ttench\nn01443537 goldfish, Carassius auratus\n")
    assert class_list(f"@{file}") == ("tench", "goldfish, Carassius auratus")
    file.write_text("n01440764\nn01443537\n")
    assert class_list(f"@{file}") == ("n01440764", "n01443537")


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"\xff\xfe\x00", "no text in UTF-8"), (b"one\n", "it has 1|has 1")]
)
def test_a_file_without_names_is_refused(tmp_path, content, why):
    file = tmp_path / "names.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(AddressError, match=why):
        class_list(f"@{file}")


def test_a_map_joins_fine_classes(tmp_path):
    file = tmp_path / "map.csv"
    file.write_text('fine,coarse\n"tench, Tinca tinca", fish\ngoldfish,fish\n\ncock,bird\n')
    table = read_class_map(f"@{file}")
    assert table.fine == ("tench, Tinca tinca", "goldfish", "cock")
    assert table.coarse == ("fish", "fish", "bird")
    assert table.classes == ("fish", "bird")
    file.write_text("goldfish,fish\ncock,bird\n")
    assert read_class_map(f"@{file}").fine == ("goldfish", "cock"), "a heading may be missing"
    assert is_class_map(f"@{file}")
    assert not is_class_map("@names.txt")
    assert not is_class_map("a,b.csv")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\nc\n", "line 2: a map of classes has a fine class and a coarse one"),
        ("a,x\nb,y,z\n", "line 2"),
        ("a,x\nb,y\na,y\n", "line 3: 'a' stands in line 1 already"),
        ("a,x\nb,x\n", "at least two coarse classes; it makes 1"),
        ("", "it makes 0"),
    ],
)
def test_a_map_that_says_nothing_is_refused(tmp_path, text, why):
    file = tmp_path / "map.csv"
    file.write_text(text)
    with pytest.raises(AddressError, match=why):
        read_class_map(f"@{file}")
