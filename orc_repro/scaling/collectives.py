"""What processes say to each other in an iteration, seen by making one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from orc_repro.distill import Method

NUMBER_BYTES = 4  # float32


def updates_of(method: Method, step: Callable[[], object]) -> tuple[int, ...]:
    """Bytes of the gradients that each optimizer update of an iteration averages, in order.

    Args:
        step: makes one iteration of the method, as written.
    """
    seen: list[int] = []
    update = method.update

    def noted(names: Sequence[str], losses: Sequence[Tensor]) -> None:
        learned = [p for name in names for p in method.parameters_of(name)]
        seen.append(sum(parameter.nbytes for parameter in learned))
        update(names, losses)

    method.update = noted  # type: ignore[method-assign]
    try:
        step()
    finally:
        del method.update  # the class's own again
    return tuple(seen)


def ballot_bytes(method: Method) -> int:
    """What an election adds: each student's loss and accuracy; nothing where none is held."""
    if not method.host_decides or method.roles is None:
        return 0
    students = [name for name in method.networks if name != method.roles.pivot]
    return 2 * len(students) * NUMBER_BYTES
