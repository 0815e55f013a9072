"""NumPy archives read whole, so that none stays open."""

import numpy as np


def arrays(file):
    """Return the arrays of an npz file by name."""
    with np.load(file) as stored:
        return dict(stored)
