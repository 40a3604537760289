"""The paper's claims, tested on what was measured here."""
