"""What Prometheus is told: requests, latency, scores by calibration quantiles, abstentions, queues, alarms."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from demur.guard import Decisions
from demur.serve.served_guard import ServedGuard

SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})

ALARMS = ("workload", "harm", "martingale")

Guards = Callable[[], Mapping[str, ServedGuard]]


class ServiceMetrics:
    """The metrics of one server, in a registry of its own.

    Args:
        guards: tells which guards are in service.
    """

    def __init__(self, guards: Guards) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "demur_requests", "Requests by route, method and status.", ("route", "method", "code"), registry=registry
        )
        self._seconds = Histogram(
            "demur_request_seconds", "Seconds from a request's head to its answer.", ("route",), buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._batches = Histogram(
            "demur_batch_images", "Images that a model was asked about at once.", ("guard",), buckets=IMAGES,
            registry=registry,
        )  # fmt: skip
        self._images = Counter(
            "demur_images", "Images that were decided, by outcome.", ("guard", "outcome"), registry=registry
        )
        self._abstentions = Counter(
            "demur_abstentions", "Images whose answer was withheld, by reason.", ("guard", "reason"), registry=registry
        )
        self._webhooks = Counter("demur_webhooks", "Calls of the webhook, by outcome.", ("outcome",), registry=registry)
        self._faults = Counter(
            "demur_alarm_faults", "Batches that alarms could not note.", ("guard",), registry=registry
        )
        self._reloads = Counter(
            "demur_reloads", "Reloads of a guard, by outcome.", ("guard", "outcome"), registry=registry
        )
        registry.register(_Live(guards))
        ProcessCollector(registry=registry)

    def request(self, route: str, method: str, code: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, method if method in METHODS else "other", str(code)).inc()
        self._seconds.labels(route).observe(seconds)

    def decided(self, guard: str, decisions: Decisions) -> None:
        """A request's images were decided."""
        accepted = int(decisions.accepted.sum())
        self._images.labels(guard, "answered").inc(accepted)
        self._images.labels(guard, "abstained").inc(len(decisions) - accepted)
        for reason in decisions.reasons.tolist() if accepted < len(decisions) else ():
            if reason:
                self._abstentions.labels(guard, reason).inc()

    def batch(self, guard: str, images: int) -> None:
        """A model was asked once."""
        self._batches.labels(guard).observe(images)

    def webhook(self, outcome: str) -> None:
        """The webhook was called, or given up."""
        self._webhooks.labels(outcome).inc()

    def alarm_fault(self, guard: str) -> None:
        """The alarms could not note a batch."""
        self._faults.labels(guard).inc()

    def reload(self, guard: str, outcome: str) -> None:
        """A guard was to be loaded again."""
        self._reloads.labels(guard, outcome).inc()

    @property
    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)


class _Live(Collector):
    """What is asked when it is scraped."""

    def __init__(self, guards: Guards) -> None:
        self._guards = guards

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        served = self._guards()
        yield _gauge(
            "demur_guard_info", "1 for the guard in service, with its hashes.", ("guard", "sha256", "model_sha256"),
            {(name, each.loaded.sha256, each.loaded.guard.sha256): 1 for name, each in served.items()},
        )  # fmt: skip
        yield _gauge(
            "demur_guard_expired", "Whether the last day of its certificate is over.", ("guard",),
            {(name,): each.loaded.guard.expired for name, each in served.items()},
        )  # fmt: skip
        yield _gauge(
            "demur_queue_images", "Images that wait, are decoded or decided.", ("guard",),
            {(name,): each.batches.depth for name, each in served.items()},
        )  # fmt: skip
        scores = HistogramMetricFamily(
            "demur_uncertainty", "Scores of images, in buckets of calibration quantiles.", labels=("guard", "signal")
        )
        for name, each in served.items():
            for signal, tally in each.tallies.items():
                scores.add_metric((name, signal), tally.buckets, tally.sum)
        yield scores
        yield from _alarms(served)


def _alarms(served: Mapping[str, ServedGuard]) -> Iterator[Metric]:
    """The alarms at the last look, a second ago at most."""
    status = {name: each.alarms.last for name, each in served.items()}
    found = {
        (name, kind): getattr(known, kind) for name, known in status.items() if known is not None for kind in ALARMS
    }
    labels = ("guard", "alarm")
    raised = {key: state.state == "alarm" for key, state in found.items()}
    yield _gauge("demur_alarm", "1 from the moment that an alarm is raised.", labels, raised)
    evidence = {key: state.evidence for key, state in found.items()}
    yield _gauge("demur_alarm_evidence", "What was made of a stake of 1 against all being well.", labels, evidence)
    thresholds = {key: state.threshold for key, state in found.items()}
    yield _gauge("demur_alarm_threshold", "The evidence at which an alarm is raised.", labels, thresholds)


def _gauge(name: str, says: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> GaugeMetricFamily:
    found = GaugeMetricFamily(name, says, labels=labels)
    for label, value in values.items():
        found.add_metric(label, float(value))
    return found
