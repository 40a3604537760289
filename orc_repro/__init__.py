"""ORC: network group-based knowledge distillation using online role change.

A reproduction of Choi, Cho, Cheung and Hwang (ICCV 2023, arXiv 2206.01186) as a pipeline:
DVC runs it, MLflow keeps what happened, the report sets the paper beside what was measured.
"""

__version__ = "0.1.0"
