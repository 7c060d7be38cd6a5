"""Figures for Prometheus: what was taken, what became of it, what waits, and how each route is.

Counters count since the start; the state of the queue is read from the spool when it is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from relayprobe.relay.lane import Lane
from relayprobe.store import Attempt, Mail, Spool, StoreError

STATES = ("ok", "waiting", "stopped")


class Figures(Collector):
    """The figures of one relay."""

    def __init__(
        self,
        spool: Spool,
        lanes: Callable[[], Mapping[str, Lane]],
        free: Callable[[], int],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.registry = CollectorRegistry()
        self._spool = spool
        self._lanes = lanes
        self._free = free
        self._wall = wall
        self._taken = Counter("relayprobe_mails_taken", "Mails taken from devices", registry=self.registry)
        self._octets = Counter("relayprobe_octets_taken", "Octets of the mails taken", registry=self.registry)
        self._refused = Counter(
            "relayprobe_devices_refused", "Dialogues of devices that may not send", registry=self.registry
        )
        self._attempts = Counter(
            "relayprobe_attempts", "Attempts at delivery", ["route", "result"], registry=self.registry
        )
        self._repairs = Counter("relayprobe_repairs", "What was put right", ["repair"], registry=self.registry)
        self.registry.register(self)

    def taken(self, mail: Mail) -> None:
        """A mail of a device was taken."""
        self._taken.inc()
        self._octets.inc(mail.size)

    def refused(self) -> None:
        """A device may not send."""
        self._refused.inc()

    def ended(self, attempt: Attempt) -> None:
        """An attempt has ended."""
        self._attempts.labels(attempt.route, attempt.result or "?").inc()
        for repair in attempt.repairs:
            self._repairs.labels(repair["id"]).inc(repair["count"])

    def collect(self) -> Iterator[Metric]:
        """What is so at the moment."""
        try:
            counts, waiting = self._spool.counts(), self._spool.routes_of_waiting()
        except StoreError:
            counts, waiting = {}, []
        queue = GaugeMetricFamily("relayprobe_queue_mails", "Mails in the queue", labels=["state"])
        for state in ("waiting", "sending", "held", "failed"):
            queue.add_metric([state], counts.get(state, 0))
        yield queue
        now = self._wall()
        oldest = GaugeMetricFamily(
            "relayprobe_queue_oldest_seconds", "How long the oldest mail of a route has waited", labels=["route"]
        )
        for route, _, arrived in waiting:
            oldest.add_metric([route], max(0.0, now - arrived))
        yield oldest
        routes = GaugeMetricFamily("relayprobe_route_state", "1 for the state a route is in", labels=["route", "state"])
        for name, lane in list(self._lanes().items()):
            for state in STATES:
                routes.add_metric([name, state], lane.health.state == state)
        yield routes
        free = GaugeMetricFamily("relayprobe_disk_free_bytes", "Room on the disk of the data folder")
        free.add_metric([], self._free())
        yield free


def serve(figures: Figures, host: str, port: int) -> tuple[WSGIServer, Thread]:
    """Serve them under /metrics. Raises OSError."""
    return start_http_server(port, host, figures.registry)
