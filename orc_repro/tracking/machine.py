"""The machine while a run is under way: MLflow's own monitor, told what to keep."""

from __future__ import annotations

import os
from typing import Any

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

OF_THE_HOST = ("cpu_utilization_percentage", "system_memory_usage_megabytes")
OF_A_GPU = ("utilization_percentage", "memory_usage_megabytes", "power_usage_watts")


class Monitor(SystemMetricsMonitor):  # type: ignore[misc]  # mlflow has no types
    """Samples in a thread of its own, from ``start`` to ``finish``; what cannot be sent is lost.

    Of what MLflow samples (every GPU of a node, disks, the network) a run keeps what tells whether
    it is held up: the data are in memory, and the GPU is one.
    """

    def __init__(self, gpu: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._gpu = of_the_node(gpu)

    def publish_metrics(self, metrics: dict[str, float]) -> None:
        """Log a sample."""
        kept = {*OF_THE_HOST, *(f"gpu_{self._gpu}_{name}" for name in OF_A_GPU)}
        super().publish_metrics({name: metrics[name] for name in metrics if name in kept})


def of_the_node(gpu: int) -> int:
    """How the node counts a GPU that is number ``gpu`` of those that this process was given."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    named = given[gpu] if gpu < len(given) else ""
    return int(named) if named.isdecimal() else gpu
