"""A target network as MLflow loads it: raw images in, logits or probabilities out.

MLflow copies this file into each model and runs it when the model is loaded, beside a copy of
``orc_repro.models`` and the weights as safetensors. So nothing is unpickled, and the project need
not be installed where the model is used.
"""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import torch
from mlflow.pyfunc import PythonModel, PythonModelContext
from safetensors.torch import load_file

from orc_repro.models import build

BATCH_SIZE = 512  # images at a time; as in the project's own evaluation, so sums round alike


class TargetNetwork(PythonModel):  # type: ignore[misc]  # mlflow has no types
    """A network with its dataset's normalisation inside."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build the network that ``model_config`` names, with the weights among the artifacts.

        ``model_config``: ``architecture``, ``num_classes``, ``in_channels``; ``mean`` and ``std``
        of each channel on the 0..1 scale; ``device``.
        """
        config = context.model_config
        self.device = torch.device(config["device"])
        network = build(
            config["architecture"],
            num_classes=config["num_classes"],
            in_channels=config["in_channels"],
        )
        network.load_state_dict(load_file(context.artifacts["weights"]))
        network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network.eval()
        self.mean, self.std = (
            torch.tensor(config[name], dtype=torch.float32, device=self.device).view(-1, 1, 1)
            for name in ("mean", "std")
        )

    @torch.inference_mode()
    def predict(
        self,
        context: PythonModelContext,
        model_input: npt.NDArray[np.uint8],
        params: dict[str, Any] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Classify images.

        Args:
            context: not used here.
            model_input: uint8 [N, C, H, W], as prepared: neither scaled nor normalised.
            params: ``probabilities``: their softmax instead of the logits.

        Returns:
            float32 [N, classes].
        """
        found = [
            self._logits(model_input[start : start + BATCH_SIZE])
            for start in range(0, len(model_input), BATCH_SIZE)
        ]
        logits = torch.cat(found)
        if (params or {}).get("probabilities"):
            logits = logits.softmax(dim=1)
        answers: npt.NDArray[np.float32] = logits.cpu().numpy()
        return answers

    def _logits(self, images: npt.NDArray[np.uint8]) -> torch.Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        floats = pixels.to(torch.float32, memory_format=torch.channels_last)
        logits: torch.Tensor = self.network(floats.div_(255).sub_(self.mean).div_(self.std))
        return logits.float()


mlflow.models.set_model(TargetNetwork())
