"""Freeze the policies: fitted on tune and certify rows of clean images, and on nothing else."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from demur.policies import Calibration, Certificate, Certified, Refusal, choose_signal, dump_policy
from demur.records import groups, wrong
from demur.registry import build


def fit_policies(texts: Sequence[str], clean: pl.DataFrame, signals: Sequence[str]) -> list[dict[str, Any]]:
    """Every policy of a plan, fitted, as plain JSON values: `name`, and `policy` or `refusal`.

    The signal of a certified threshold is chosen on the tune rows: msp unless another is clearly better there.
    """
    fitted = []
    for text in texts:
        policy = build("policy", text)
        fitted.append(
            {"name": text, **(_certify(policy, clean, signals) if isinstance(policy, Certified) else _fixed(policy))}
        )
    return fitted


def _fixed(policy: Any) -> dict[str, Any]:
    return {"policy": dump_policy(policy)}


def _certify(policy: Certified, clean: pl.DataFrame, signals: Sequence[str]) -> dict[str, Any]:
    readable = clean.filter(pl.col("error").is_null())
    tune, certify = (readable.filter(pl.col("role") == role) for role in ("tune", "certify"))
    scores = {name: tune[f"signal.{name}"].to_numpy() for name in signals}
    signal = choose_signal(scores, wrong(tune), groups(tune)) if len(tune) else "msp"
    answer = policy.fit(_calibration(tune, signal), _calibration(certify, signal))
    match answer:
        case Certificate():
            return {"signal": signal, "tune": len(tune), "policy": dump_policy(answer.on(signal))}
        case Refusal():
            support = _support(policy, _calibration(tune, signal), _calibration(certify, signal))
            return {"signal": signal, "tune": len(tune), "refusal": {**_plain(vars(answer)), **support}}


_ROUNDER = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)


def _support(policy: Certified, tune: Calibration, certify: Calibration) -> dict[str, float | None]:
    """What these labels could prove at best, and the smallest rounder risk they would have passed at.

    The labels are open once a promise was refused, so this is a hint for the next plan and no promise.
    """
    laxer = (replace(policy, risk=risk) for risk in _ROUNDER if risk > policy.risk)
    passed = (each.risk for each in laxer if isinstance(each.fit(tune, certify), Certificate))
    units = len(certify.one_per_group())
    return {
        "provable": 1 - policy.delta ** (1 / units) if units else None,
        "supported": next(passed, None) if len(tune) and units else None,
    }


def _calibration(rows: pl.DataFrame, signal: str) -> Calibration:
    return Calibration(
        scores=rows[f"signal.{signal}"].to_numpy(),
        wrong=wrong(rows),
        groups=groups(rows),
        ids=rows["sample_id"].to_list(),
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
