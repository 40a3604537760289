"""The machine while a run is under way: MLflow's own monitor, told what to keep."""

from __future__ import annotations

import os

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

OF_THE_HOST = ("cpu_utilization_percentage", "system_memory_usage_megabytes")
OF_A_GPU = ("utilization_percentage", "memory_usage_megabytes", "power_usage_watts")


class Monitor(SystemMetricsMonitor):  # type: ignore[misc]  # mlflow has no types
    """Samples in a thread of its own, from ``start`` to ``finish``; what cannot be sent is lost.

    Of what MLflow samples (every GPU of a node, disks, the network) a run keeps what tells whether
    it is held up: the data are in memory, and the GPU is one.
    """

    def publish_metrics(self, metrics: dict[str, float]) -> None:
        """Log a sample."""
        kept = {*OF_THE_HOST, *(f"gpu_{own_gpu()}_{name}" for name in OF_A_GPU)}
        super().publish_metrics({name: metrics[name] for name in metrics if name in kept})


def own_gpu() -> int:
    """The GPU that this process was given, as the node counts them; 0 if nothing is said."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
    return int(first) if first.isdecimal() else 0
