"""What Prometheus reads at /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

from espresso.schema import Answer
from serving.admission import Places

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
"""Upper bounds of the histograms."""


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, places: Places) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter("espresso_requests", "Requests.", ("route", "status"), registry=registry)
        self.seconds = Histogram(
            "espresso_request_seconds", "Seconds of requests.", ("route",), buckets=SECONDS, registry=registry
        )
        in_progress = Gauge("espresso_requests_in_progress", "Requests that are being answered.", registry=registry)
        waiting = Gauge("espresso_requests_waiting", "Requests that wait for their turn.", registry=registry)
        in_progress.set_function(lambda: places.in_progress)
        waiting.set_function(lambda: places.waiting)
        self._answers = Counter("espresso_answers", "Answers.", ("model", "strategy"), registry=registry)
        self._nodes = Histogram("espresso_node_seconds", "Seconds of nodes.", ("node",), buckets=SECONDS, registry=registry)
        self._tokens = Counter("espresso_tokens", "Tokens of all models.", ("kind",), registry=registry)

    def count(self, model: str, answer: Answer) -> None:
        """Count an answer and what it cost."""
        self._answers.labels(model, answer.strategy).inc()
        for node, seconds in answer.usage.seconds.items():
            self._nodes.labels(node).observe(seconds)
        self._tokens.labels("in").inc(answer.usage.tokens_in)
        self._tokens.labels("out").inc(answer.usage.tokens_out)
        self._tokens.labels("visual").inc(answer.usage.tokens_visual)
