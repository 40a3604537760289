"""All cells of all studies as one queue, worked off wherever there are some minutes.

Without DVC and MLflow, which need not be installed where the work is done. How results come back:
``bring.py`` and ``certify.py``.
"""
