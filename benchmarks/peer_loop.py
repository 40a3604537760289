"""How distillation code is usually written: what ours is measured against.

Images go through PIL one by one, in a DataLoader; networks are in torch's default layout; each
network is asked anew in each phase; losses and accuracies are read back in every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from orc_repro._torchvision import import_torchvision
from orc_repro.config import OrcConfig
from orc_repro.distill import losses
from orc_repro.distill.method import as_teacher
from orc_repro.distill.orc.feedback import draw_partners, feedback_probabilities
from orc_repro.distill.roles import Roles, elect

MEAN, STD = (0.5,) * 3, (0.25,) * 3


class PilImages(Dataset[tuple[Tensor, int]]):
    """Images [N, 3, H, W] in memory that become PIL images, crops and tensors one at a time."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        import_torchvision()
        from torchvision import transforms

        self._images, self._labels = images.transpose(0, 2, 3, 1), labels
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(images.shape[2], padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image: Tensor = self._transform(Image.fromarray(self._images[index]))
        return image, int(self._labels[index])


def endless(images: PilImages, batch_size: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of one epoch after another."""
    loader = DataLoader(
        images, batch_size, shuffle=True, num_workers=workers, drop_last=True,
        persistent_workers=workers > 0,
    )  # fmt: skip
    while True:
        yield from loader


class Meters:
    """Running means of a network's loss and of its two accuracies, read back at every step."""

    def __init__(self) -> None:
        self.sums, self.count = [0.0, 0.0, 0.0], 0

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch."""
        with torch.no_grad():
            deepest = min(5, logits.shape[1])
            hits = logits.topk(deepest, dim=1).indices == labels.unsqueeze(1)
            top1 = 100 * hits[:, :1].float().sum() / len(labels)
            top5 = 100 * hits.float().sum() / len(labels)
        for i, value in enumerate((loss, top1, top5)):
            self.sums[i] += value.item() * len(labels)
        self.count += len(labels)


def plain_sgd(network: nn.Module, learning_rate: float = 0.05) -> torch.optim.SGD:
    """The optimizer as it is usually made."""
    return torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9, weight_decay=5e-4)


class PeerKd:
    """Distillation from one teacher."""

    def __init__(
        self, teacher: nn.Module, student: nn.Module, temperature: float, beta: float
    ) -> None:
        self.teacher, self.student = teacher.eval(), student.train()
        self.temperature, self.beta = temperature, beta
        self.optimizer, self.meters = plain_sgd(student), Meters()

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One iteration."""
        logits = self.student(images)
        with torch.no_grad():
            targets = losses.soft_targets(self.teacher(images), self.temperature)
        ce = losses.cross_entropy(logits, labels).mean()
        kd = losses.distillation(logits, targets, self.temperature)
        loss = (1 - self.beta) * ce + self.beta * kd
        self.meters.update(loss, logits, labels)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()


class PeerOrc:
    """ORC phase by phase: each phase asks everyone it needs anew.

    It elects by loss on the batch, draws feedback by the students' losses and teaches one by one,
    as ``methods.orc`` does; nothing else is offered.
    """

    def __init__(
        self, config: OrcConfig, pivot: str, networks: Mapping[str, nn.Module], learning_rate: float
    ) -> None:
        self.config, self.pivot, self.networks = config, pivot, dict(networks)
        self.names = tuple(name for name in networks if name != pivot)
        rates = {pivot: learning_rate * config.intensive.pivot_lr_scale}
        self.optimizers = {
            name: plain_sgd(network, rates.get(name, learning_rate))
            for name, network in self.networks.items()
        }
        self.roles = Roles(pivot, (), self.names)
        self.meters = {name: Meters() for name in networks}
        for network in self.networks.values():
            network.train()

    def step(self, images: Tensor, labels: Tensor, uniform: Tensor, mix_weight: Tensor) -> None:
        """One iteration: 4 S + 5 P + T forwards' worth, where a backward counts two."""
        # Students are evaluated; batch statistics, so that the promoted are those of our step.
        answers = {name: _says(self.networks[name], images) for name in self.names}
        student_losses = torch.stack(
            [losses.cross_entropy(answers[name], labels) for name in self.names]
        )
        wrong = torch.stack([answers[name].argmax(1) != labels for name in self.names])
        # The pivot learns what they get wrong.
        probabilities = feedback_probabilities(self.config.feedback.choice, student_losses, wrong)
        partner = draw_partners(probabilities, uniform, self.config.feedback.nobody_errs)
        mixed = losses.mix(images, images[partner], mix_weight)
        logits = self.networks[self.pivot](mixed)
        loss = losses.mixed_cross_entropy(logits, labels, labels[partner], mix_weight)
        self._learn(self.pivot, loss, logits, labels)
        # The best is promoted and taught by the pivot.
        self.roles = elect(
            {name: student_losses[i].mean().item() for i, name in enumerate(self.names)},
            {name: (~wrong[i]).float().mean().item() for i, name in enumerate(self.names)},
            self.roles, top_k=1, margin=0.0, min_accuracy=0.0,
        )  # fmt: skip
        (promoted,) = self.roles.temporary_teachers
        pivot_says = _says(self.networks[self.pivot], images)
        self._teach(promoted, images, labels, [pivot_says])
        # Both teach the rest.
        pivot_says = _says(self.networks[self.pivot], images)
        promoted_says = _says(self.networks[promoted], images)
        for name in self.roles.students:
            self._teach(name, images, labels, [pivot_says, promoted_says])

    def _teach(self, name: str, images: Tensor, labels: Tensor, teachers: list[Tensor]) -> None:
        temperature, beta = self.config.temperature, self.config.beta
        logits = self.networks[name](images)
        ce = losses.cross_entropy(logits, labels).mean()
        terms = [
            losses.distillation(logits, losses.soft_targets(said, temperature), temperature)
            for said in teachers
        ]
        kd = terms[0] if len(terms) == 1 else terms[0] + terms[1]
        self._learn(name, (1 - beta) * ce + beta * kd, logits, labels)

    def _learn(self, name: str, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self.meters[name].update(loss, logits, labels)
        self.optimizers[name].zero_grad()
        torch.autograd.backward(loss)
        self.optimizers[name].step()


def _says(network: nn.Module, images: Tensor) -> Tensor:
    with as_teacher(network, "batch"):
        logits: Tensor = network(images)
        return logits
