"""Behaviour probes: what the code computes, as digests that no change of its text alters."""
