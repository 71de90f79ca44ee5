"""An objective that counts."""

import torch

from demur.attacks.core.objective import Objective
from demur.classifier import BoundClassifier
from demur.randomness import Keys
from demur.testing.attack_contract import ROWS, SHAPE, AttackTrial


class Counting(Objective):
    """Counts what goes through it, by the row, and the sizes of its batches."""

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.rows, self.backwards, self.batches = 0, 0, []

    def logits(self, x):
        self.rows += len(x)
        self.batches.append(len(x))
        return super().logits(x)

    def exact(self, x):
        self.rows += len(x)
        return super().exact(x)

    def climb(self, x, y, target=None):
        self.rows, self.backwards = self.rows + len(x), self.backwards + len(x)
        return super().climb(x, y, target)

    def jacobian(self, x, y, classes):
        self.rows, self.backwards = self.rows + len(x), self.backwards + classes.numel()
        return super().jacobian(x, y, classes)


def setting(attack, classes=5, dtype=torch.float64, rows=ROWS, wrong=2):
    """A counting objective, images of which many pixels touch a wall, labels of which the first few are wrong, keys."""
    trial = AttackTrial.of(attack, classes=classes, dtype=dtype, rows=rows, wrong=wrong)
    names = [str(k) for k in range(classes)]
    objective = Counting(BoundClassifier(trial.module, classes=names, input_shape=SHAPE), attack.loss)
    return objective, trial.x, trial.y, Keys.of(0, [str(row) for row in range(rows)], "contracts")
