"""A classifier of right and wrong answers."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from demur.errors import InputError, missing_extra, unknown
from demur.metrics import auroc
from demur.shapes import Features, Flags, Scores
from demur.signals.estimator_slopes import Estimator, with_gradient


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Learns from columns of numbers which answers were wrong; cross-fitted.

    One estimator for each fold is trained on the other folds, and all of them together score what is new: the mean of
    their probabilities. Rows of one group share a fold. What it says of the reference itself (`held_out`) comes from
    the estimator that was not trained on the row, so that it may be learned from again.

    Attributes:
        estimator: `logistic`, `mlp` (200-200), `random_forest` (100 trees, depth 10), `gbm` (100 boosted trees of
            depth 3), `lda` and `qda` (with Ledoit and Wolf's shrinkage), or any scikit-learn classifier that gives
            probabilities.
        folds: how many.

    The estimators are those of Wu et al. (2019), arXiv:1910.00387, logistic regression and Friedman (2001), "Greedy
    function approximation: a gradient boosting machine".
    """

    estimator: str | Estimator = "logistic"
    folds: int = 5

    def __post_init__(self) -> None:
        if isinstance(self.estimator, str) and self.estimator not in PRESETS:
            raise unknown("estimator", self.estimator, PRESETS)
        if self.folds < 2:
            raise InputError(f"a detector's `folds` must be at least 2; got {self.folds}.")

    def fit(
        self, columns: Features, wrong: Flags, groups: Sequence[str] | NDArray[np.str_] | None = None
    ) -> "FittedDetector":
        """Learn from columns (rows, width) which rows are wrong.

        Raises:
            InputError: there are fewer right or wrong answers than folds.
            MissingExtraError: scikit-learn is not installed.
        """
        x, y = columns.double().numpy(force=True), wrong.numpy()
        rarer = int(min(y.sum(), (~y).sum()))
        if rarer < self.folds:
            raise InputError(
                f"a detector of errors learns from at least {self.folds} right and {self.folds} wrong answers, one "
                f"for each fold; of {len(y)} reference images {int(y.sum())} are answered wrongly. Give more images of "
                "split fit, or leave this signal out."
            )
        models, held_out = [], np.full(len(y), np.nan)
        for train, rest in _folds(self.folds, y, groups):
            model = self._trained(x[train], y[train])
            held_out[rest] = model.predict_proba(x[rest])[:, 1]
            models.append(model)
        return FittedDetector(models=tuple(models), held_out=torch.from_numpy(held_out), wrong=wrong)

    def _trained(self, x: NDArray[np.float64], y: NDArray[np.bool_]) -> Estimator:
        from sklearn.exceptions import ConvergenceWarning

        if self.estimator == "qda":
            return quadratic(x, y)
        model = self._new()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of epochs is part of a preset
            model.fit(x, y)
        return model

    def _new(self) -> Estimator:
        try:
            from sklearn.base import clone
        except ImportError:
            raise missing_extra("a detector of errors", "signals") from None
        return PRESETS[self.estimator]() if isinstance(self.estimator, str) else clone(self.estimator)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedDetector:
    """One trained estimator for each fold, and what each gave the rows (rows,) it was not trained on."""

    models: tuple[Estimator, ...]
    held_out: Scores
    wrong: Flags

    def __call__(self, columns: Features) -> Scores:
        """The probability of a wrong answer, as the estimators have it on average."""
        x = columns.double().numpy(force=True)
        return torch.from_numpy(np.mean([model.predict_proba(x)[:, 1] for model in self.models], axis=0))

    def surrogate(self, columns: Features) -> Scores:
        """The same with a gradient: of the estimator's own formula, or of its mean over small normal changes."""
        return torch.stack([with_gradient(model, columns.double()) for model in self.models]).mean(dim=0)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What it learned from, and how well it does on rows it was not trained on."""
        return {
            "rows": len(self.wrong),
            "wrong": int(self.wrong.sum()),
            "held_out_auroc": auroc(self.held_out.numpy(), self.wrong.numpy()),
        }


def _folds(
    folds: int, wrong: NDArray[np.bool_], groups: Sequence[str] | NDArray[np.str_] | None
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    try:
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
    except ImportError:
        raise missing_extra("a detector of errors", "signals") from None
    if groups is None:
        return list(StratifiedKFold(folds, shuffle=True, random_state=0).split(wrong, wrong))
    found = []
    if len(set(groups)) >= folds:
        found = list(StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(wrong, wrong, groups))
    if not found or any(len(np.unique(wrong[train])) < 2 or not len(rest) for train, rest in found):
        raise InputError(
            f"{folds} folds that keep groups together need right and wrong answers in several of them; there are "
            f"{len(set(groups))} groups. Take fewer folds or give more groups."
        )
    return found


def _logistic() -> Estimator:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8, max_iter=10_000))


def _mlp() -> Estimator:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((200, 200), batch_size=50, max_iter=20, random_state=0)


def _random_forest() -> Estimator:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, max_depth=10, random_state=0)


def _gbm() -> Estimator:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_depth=3, early_stopping=False, random_state=0)


def _lda() -> Estimator:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


def _qda() -> Estimator:
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    return QuadraticDiscriminantAnalysis()


PRESETS: Mapping[str, Callable[[], Estimator]] = {
    "gbm": _gbm,
    "lda": _lda,
    "logistic": _logistic,
    "mlp": _mlp,
    "qda": _qda,
    "random_forest": _random_forest,
}


def quadratic(x: NDArray[np.float64], y: NDArray[np.bool_]) -> Estimator:
    """A quadratic discriminant of two classes whose covariances are shrunk, from rows x (rows, width) and classes y.

    Covariances (1 − s)·S + s·m·I, with m the mean variance of a column and s as Ledoit and Wolf (2004), "A
    well-conditioned estimator for large-dimensional covariance matrices", have it, by the singular values of the rows.
    So there may be fewer rows of a class than columns, and columns that are the same in all of them.

    Raises:
        InputError: the rows of a class are all the same.
    """
    model: Any = _qda()
    parts = [x[y == kind] for kind in (False, True)]
    spectra = [_shrunk(part) for part in parts]
    model.classes_, model.n_features_in_ = np.array([False, True]), x.shape[1]
    model.priors_, model.means_ = np.array([(~y).mean(), y.mean()]), np.array([part.mean(axis=0) for part in parts])
    model.scalings_, model.rotations_ = [values for values, _ in spectra], [vectors for _, vectors in spectra]
    return model


def _shrunk(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues (width,) and eigenvectors (width, width) of the shrunk covariance of some rows."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    count, width = rows.shape
    centred = rows - rows.mean(axis=0)
    if not np.any(centred):
        raise InputError(
            f"`qda` needs answers of each kind that differ; {count} of one kind are the same in all {width} columns. "
            "Give more images of split fit, or take another `estimator`, such as 'lda'."
        )
    _, singular, vectors = np.linalg.svd(centred, full_matrices=count < width)
    values = np.zeros(width)
    values[: len(singular)] = singular**2 / count
    share = max(float(ledoit_wolf_shrinkage(centred, assume_centered=True)), 1e-9)
    return (1 - share) * values + share * values.mean(), vectors.T
