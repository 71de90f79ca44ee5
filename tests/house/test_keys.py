"""The bytes behind splits and draws are pinned: a renamed salt or draw would move them without a sound."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import demur
from demur.randomness import Keys, uniform
from demur.signals.regression import folds_of
from demur.splits import assign_splits, unit_hashes
from demur.training.training_task import learns

ROOM = Path(demur.__file__).parent
TESTING = ROOM / "testing"

CONTENTS = [f"{number:064x}" for number in range(400)]
GROUPS = [f"patient {number // 3}" if number % 2 else None for number in range(400)]

TEXTS = {
    *(
        "attack",
        "colour",
        "{endpoint} {remote}",
        "direction",
        "dropout",
        "elastic_transform corners",
        "elastic_transform field",
        "filters",
        "fit",
    ),
    *("fog", "foreign", "frost", "gaussian_noise", "glass_blur", "goal", "impulse_noise", "lipschitz", "local norm"),
    *("minimal", "confident"),
    *("motion_blur", "move", "noise radius", "noise", "operator norm", "pixels", "probe", "randomised", "rotation"),
    *("salt_and_pepper", "shot_noise left", "shot_noise", "shuffled", "snow angle", "snow", "spatter", "speckle_noise"),
    *(
        "answers",
        "bench",
        "image",
        "start",
        "stripes",
        "tiles turned",
        "tiles",
        "trials",
        "turned",
        "weights",
        "door",
        "",
    ),
    *("dropout {name} {calls[name]}", "filters of {name}", "mutant {self.operator} {self.gamma:g}"),
    *("smooth_grad {copy}", "smoothing {stage} {block}", "waver {draw}", "{degrees:g}", "{draw} radius"),
    *(
        "\x1f",
        "fold\x1f{unit}",
        "limit\x1f{content}",
        "role\x1f{kind}\x1f{text}",
        "train\x1f{unit_hash}",
        "unit\x1f{name}",
    ),
    "{tag}\x1f{named}",
}
DRAWS = {"uniform", "normal", "seeds", "named", "random_point", "signs"}


def key_texts(text: str) -> Iterator[str]:
    """Every text that a file gives to a key, a draw or a hash, its holes in braces."""
    for call in ast.walk(ast.parse(text)):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func)
        hashed = name.startswith("hashlib.")
        if hashed or name == "Keys.of" or name.rpartition(".")[2] in DRAWS:
            inside = [node for given in call.args for node in (ast.walk(given) if hashed else [given])]
            formatted = [node for node in inside if isinstance(node, ast.JoinedStr)]
            parts = {part for node in formatted for part in ast.walk(node)} - set(formatted)
            yield from (pattern(node) for node in inside if is_text(node) and node not in parts)


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def pattern(node: ast.expr) -> str:
    return ast.literal_eval(ast.unparse(node).removeprefix("f"))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_no_salt_and_no_draw_has_another_text():
    files = [path for path in ROOM.rglob("*.py") if TESTING not in path.parents]
    assert {text for path in files for text in key_texts(path.read_text())} == TEXTS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("keys.normal(x, 'snow')", "snow"),
        ("Keys.of(0, ids, f'mutant {n}')", "mutant {n}"),
        ("hashlib.sha256(f'role\x1f{kind}'.encode())", "role\x1f{kind}"),
    ],
)
def test_a_text_is_found(text, found):
    assert list(key_texts(text)) == [found]


@pytest.mark.parametrize(
    ("rows", "expected"), [(400, "41f56e4afaeeaaaa"), (1_000, "cc3441f430c89951"), (10_000, "f0f784781455d8fd")]
)
def test_splits_stay_where_they_are(rows, expected):
    units = unit_hashes(CONTENTS, GROUPS)
    assert digest("".join(units)) == "ae4427c68aebaaa7"
    assert digest(" ".join(assign_splits([None] * len(units), units, rows=rows))) == expected


def test_folds_and_images_to_learn_from_stay_where_they_are():
    assert folds_of(np.array(["a", "b", "c", "d"]), 5).tolist() == [2, 1, 1, 4]
    assert "".join("01"[learns(unit)] for unit in unit_hashes(CONTENTS[:20], [None] * 20)) == "01011110100110111100"


def test_draws_stay_what_they_are():
    keys, like = Keys.of(7, ["a", "b"], "pgd(eps=8/255)"), torch.zeros(2, 3)
    assert keys.values == (11641150290688998841, 17775359810968806532)
    assert keys.named("fgsm").values == (187934229278458093, 11954384419101748458)
    assert keys.seeds("attack").tolist() == [-4581859412480179060, 4724452680634590877]
    for drawn, expected in (
        (keys.uniform(like, "shuffled"), [[0.5758, 0.5005, 0.2029], [0.1617, 0.5524, 0.4276]]),
        (keys.normal(like, "weights"), [[0.1110, -0.9794, -0.4371], [0.6490, 1.1828, 1.1717]]),
        (uniform(keys.seeds("attack"), "noise", like, 3), [[0.4822, 0.2945, 0.3332], [0.1268, 0.3160, 0.6972]]),
    ):
        assert torch.allclose(drawn, torch.tensor(expected), atol=1e-4)
