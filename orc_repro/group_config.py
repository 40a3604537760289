"""Groups of networks as ``params.yaml`` declares them; see ``orc_repro/config.py``."""

from __future__ import annotations

from pydantic import Field, model_validator

from orc_repro.errors import UserError
from orc_repro.validation import Name, Strict


def architecture_of(network: str) -> str:
    """``resnet20.b`` -> ``resnet20``: a label lets a group hold one architecture twice."""
    return network.split(".", 1)[0]


class Group(Strict):
    """The students that learn beside each other, one the target, and a pre-trained pivot.

    A group for methods without a teacher has ``pivot: null``. The names become file names.
    """

    pivot: Name | None
    students: tuple[Name, ...] = Field(min_length=1, strict=False)
    target: Name

    @model_validator(mode="after")
    def _names_are_distinct_and_known(self) -> Group:
        from orc_repro.models import check_name  # here, so that reading a config loads no torch

        names = [*self.students] if self.pivot is None else [self.pivot, *self.students]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"'{name}' is named twice; tell them apart as '{name}.a', '{name}.b'"
                )
            try:
                check_name(architecture_of(name))
            except UserError as error:
                raise ValueError(str(error)) from None
        if self.target not in self.students:
            allowed = ", ".join(self.students)
            raise ValueError(f"target '{self.target}' is not among the students: {allowed}")
        return self

    @property
    def assistants(self) -> tuple[str, ...]:
        """The students declared before the target: what a chain trains between pivot and target."""
        return self.students[: self.students.index(self.target)]

    def up_to(self, student: str) -> Group:
        """The chain that ends with a student, as its target."""
        students = self.students[: self.students.index(student) + 1]
        return Group(pivot=self.pivot, students=students, target=student)

    @property
    def teacher(self) -> str:
        """The pivot's name, for methods that need one."""
        if self.pivot is None:
            raise ValueError("this group has no pivot")
        return self.pivot
