"""Gradients through the estimators of a detector of errors, which are scikit-learn's and know none."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from demur.shapes import Features, Scores


@runtime_checkable
class Estimator(Protocol):
    """A classifier as scikit-learn has them."""

    def fit(self, x: Any, y: Any) -> Any:
        """Learn classes y from rows x."""
        ...

    def predict_proba(self, x: Any) -> Any:
        """Probabilities (rows, classes)."""
        ...


_DRAWS = 16
"""Pairs of opposite changes that a smoothed gradient is a mean of."""

_WIDTH = 0.2
"""Standard deviation of these changes, as a share of the root mean square of a row's columns."""


def with_gradient(model: Estimator, columns: Features) -> Scores:
    """The probability of an error that an estimator gives, with a gradient with respect to the columns, (rows, width).

    For a logistic regression, a linear discriminant and a net of rectified layers it is that of the formula. For any
    other, such as trees, whose own is zero nearly everywhere, it is that of the mean over normal changes of the
    columns, by the same few changes for every row.
    """
    formula = _formula(model)
    if formula is not None:
        return formula(columns)
    at = columns.detach()
    width = _WIDTH * at.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
    draws = torch.randn(_DRAWS, at.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope = torch.zeros_like(at)
    for draw in draws:
        rise = _probability(model, at + width * draw) - _probability(model, at - width * draw)
        slope += rise[:, None] * draw / (2 * width * _DRAWS)
    return _probability(model, at) + ((columns - at) * slope).sum(dim=1)


def _probability(model: Estimator, columns: Features) -> Scores:
    return torch.from_numpy(model.predict_proba(columns.numpy(force=True))[:, 1].astype("float64"))


def _formula(model: Any) -> Any:
    """The estimator written in torch; None where it is none of those that have a gradient."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    if isinstance(model, Pipeline):
        steps = [step for _, step in model.steps]
        last = _formula(steps[-1])
        if last is None or len(steps) != 2 or not isinstance(steps[0], StandardScaler):
            return None
        scaler = steps[0]
        middle = _tensor(scaler.mean_ if scaler.with_mean else 0.0)
        scale = _tensor(scaler.scale_ if scaler.with_std else 1.0)
        return lambda columns: last((columns - middle) / scale)
    if isinstance(model, LogisticRegression | LinearDiscriminantAnalysis):
        weight, bias = _tensor(model.coef_), _tensor(model.intercept_)
        return lambda columns: (columns @ weight[0] + bias[0]).sigmoid() if len(weight) == 1 else None
    if isinstance(model, MLPClassifier) and model.activation == "relu" and model.out_activation_ == "logistic":
        layers = [(_tensor(w), _tensor(b)) for w, b in zip(model.coefs_, model.intercepts_, strict=True)]
        return lambda columns: _net(layers, columns)
    return None


def _net(layers: list[tuple[Tensor, Tensor]], columns: Features) -> Scores:
    for weight, bias in layers[:-1]:
        columns = (columns @ weight + bias).relu()
    weight, bias = layers[-1]
    return (columns @ weight + bias)[:, 0].sigmoid()


def _tensor(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)
