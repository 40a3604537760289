"""What training would take on many devices, from constants measured on one machine.

Formulas, and what they leave out: ``docs/scaling.md``.
"""
