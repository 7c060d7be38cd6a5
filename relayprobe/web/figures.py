"""Figures of the capture for Prometheus: sessions and what was found in them, since the start."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from relayprobe.web.hub import Hub


class Figures(Collector):
    """What a hub has counted."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """What is so at the moment."""
        sessions = CounterMetricFamily("relayprobe_sessions", "Sessions that have ended", labels=["worst"])
        for worst in ("error", "warning", "note", "none"):
            sessions.add_metric([worst], self._hub.sessions[worst])
        yield sessions
        findings = CounterMetricFamily(
            "relayprobe_findings", "Sessions in which a rule found something", labels=["rule"]
        )
        for rule, count in sorted(self._hub.findings.copy().items()):  # the loop goes on counting
            findings.add_metric([rule], count)
        yield findings
        yield GaugeMetricFamily("relayprobe_sessions_open", "Sessions that go on", len(self._hub.open()))


def figures_of(hub: Hub) -> CollectorRegistry:
    """Its figures alone, and not those of Python itself."""
    registry = CollectorRegistry()
    registry.register(Figures(hub))
    return registry
