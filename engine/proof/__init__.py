"""Proof: what can be measured of the validation images. Measures are modules behind one protocol (`protocol.py`); no torch."""
