"""An objective that counts."""

from demur.attacks.core.objective import Objective


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
