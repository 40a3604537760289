"""Number formats, compilation, and what is said where the platform cannot."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from torch import nn

from orc_repro.config import AugmentationConfig, KdclConfig, Recipe, StepSchedule
from orc_repro.distill import Execution, Kdcl, Orc, build_method
from orc_repro.distill.method import Method
from orc_repro.validation import parse
from tests.helpers import SGD, group_of, orc_config, tiny_batch, tiny_networks

GROUP = group_of("resnet14", "resnet8", "resnet8.b")
BATCH = {"teaching__pivot_batch_norm": "batch", "teaching__temporary_batch_norm": "batch"}


def recipe(**changes: Any) -> Recipe:
    content: dict[str, Any] = {
        "epochs": 1,
        "batch_size": 8,
        "optimizer": SGD,
        "schedule": StepSchedule(milestones_epochs=(), factor=0.1),
        "augmentation": AugmentationConfig(crop_padding=0, flip=False),
        "precision": "fp32",
        "network_precisions": {},
        "compile": "off",
        "batch_norm": "process",
        "pieces": 1,
        "deterministic": True,
        "cpu_threads": 1,
    }
    return Recipe(**(content | changes))


def made(**changes: Any) -> Method:
    method = build_method(orc_config(**BATCH), GROUP, tiny_networks(GROUP), recipe(**changes))
    method.set_learning_rate(1.0)
    method.train()
    return method


def train(method: Method, steps: int) -> list[tuple[str, ...]]:
    """Some steps; returns who was promoted in each."""
    drawn = method.draw_epoch(steps, 8, torch.Generator().manual_seed(7))
    promoted = []
    for i in range(steps):
        result = method.step(*tiny_batch(i), {name: values[i] for name, values in drawn.items()})
        assert all(loss.dtype == torch.float32 for loss in result.losses.values())
        assert result.roles is not None
        promoted.append(result.roles.temporary_teachers)
    return promoted


def distance(ours: Method, theirs: Method) -> float:
    """Relative, over all weights."""
    vectors = [
        torch.cat([p.detach().flatten() for net in m.networks.values() for p in net.parameters()])
        for m in (ours, theirs)
    ]
    return float((vectors[0] - vectors[1]).norm() / vectors[1].norm())


def test_networks_compute_in_bfloat16_and_weights_losses_and_statistics_do_not() -> None:
    half = made(precision="bf16", network_precisions={"resnet8": "fp32"})
    images, _ = tiny_batch()
    kinds = {name: half.forward(name, images).dtype for name in GROUP.students}
    assert kinds == {
        "resnet14": torch.bfloat16, "resnet8": torch.float32, "resnet8.b": torch.float32,
    }  # fmt: skip
    assert half.ask_teacher("resnet20", images, "batch").dtype == torch.bfloat16
    full = made()
    train(half, 4), train(full, 4)
    state = [tensor for net in half.networks.values() for tensor in net.state_dict().values()]
    assert not any(tensor.dtype == torch.bfloat16 for tensor in state)
    assert 0 < distance(half, full) < 0.05


@pytest.mark.parametrize("wanted", ["graphs", "default+graphs"])
def test_without_a_gpu_nothing_is_replayed_and_that_is_said_once(
    wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execution = Execution(recipe(compile=wanted), "cpu")
    assert execution.replay is None
    said = capsys.readouterr().err.splitlines()
    assert said == [f"warning: `compile: {wanted}`, but no CUDA device; this runs without graphs"]


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_compiled_networks_elect_the_same_and_end_near_the_same_weights() -> None:
    compiled, written = made(compile="default"), made()
    assert train(compiled, 6) == train(written, 6)
    assert distance(compiled, written) < 1e-4
    norms = [
        torch.cat([b.flatten().float() for net in m.networks.values() for b in net.buffers()])
        for m in (compiled, written)
    ]
    assert torch.allclose(norms[0], norms[1], rtol=1e-3, atol=1e-4)


def test_a_compiler_that_cannot_is_named_once_and_done_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cannot(*_: Any, **__: Any) -> Any:
        def call(*_: Any) -> Any:
            raise torch._dynamo.exc.TorchDynamoException("no C++ compiler was found")

        return call

    monkeypatch.setattr(torch, "compile", cannot)
    compiled, written = made(compile="default"), made()
    assert train(compiled, 3) == train(written, 3)
    assert distance(compiled, written) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == ["warning: networks are not compiled: no C++ compiler was found"]


def test_everything_that_may_be_recorded_later_is_compiled_before() -> None:
    from orc_repro.distill.replay import Replay
    from tests.distill.tape import Tapes

    method = Orc(orc_config(**BATCH), GROUP, tiny_networks(GROUP), SGD)
    seen: set[tuple[int, bool]] = set()

    def compiled(network: nn.Module) -> Any:
        def call(images: torch.Tensor) -> Any:
            seen.add((id(network), torch.is_grad_enabled()))
            return network(images)

        return call

    method.execution.compiles = True
    method.execution.replay = Replay(Tapes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orc_repro.distill.execution._compiled", compiled)
        method.train()
        drawn = method.draw_epoch(1, 8, torch.Generator().manual_seed(7))
        method.step(*tiny_batch(), {name: values[0] for name, values in drawn.items()})
    assert seen == {(id(net), grad) for net in method.networks.values() for grad in (True, False)}


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_step_that_is_recorded_can_keep_its_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch._functorch.config as compiler

    from tests.distill.tape import Tapes

    monkeypatch.setattr(compiler, "donated_buffer", True)
    monkeypatch.setattr(Execution, "_lacks_for_graphs", lambda *_: None)
    monkeypatch.setattr("orc_repro.distill.execution.CudaGraphs", lambda _: Tapes())
    monkeypatch.setattr(compiler, "enable_autograd_cache", False)  # it forgets what was asked
    torch.compiler.reset()
    method = made(compile="default+graphs")
    network, (images, _) = method.networks["resnet8"], tiny_batch()
    for keep in (False, True):  # warming up, and recording
        logits = method.execution.forward("resnet8", network, images)
        weights = list(network.parameters())
        found = torch.autograd.grad(logits.square().sum(), weights, retain_graph=keep)
    again = torch.autograd.grad(logits.square().sum(), weights)  # through the graph that was kept
    assert all(map(torch.equal, found, again))
    assert any(gradient.any() for gradient in found)


def test_a_method_that_cannot_be_replayed_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    execution = Execution(recipe(compile="graphs"), "cuda", replays=False)
    assert execution.replay is None
    assert "this method cannot be recorded" in capsys.readouterr().err


@pytest.mark.parametrize("ensemble", ["naive", "general"])
def test_an_ensemble_weighed_by_the_host_cannot_be_replayed(ensemble: str) -> None:
    config = parse(
        KdclConfig,
        {"kind": "kdcl", "members": "group", "ensemble": ensemble, "temperature": 4.0,
         "weight": 1.0},
        "test",
    )  # fmt: skip
    assert Kdcl(config, GROUP, tiny_networks(GROUP), SGD).can_be_replayed == (ensemble == "naive")
