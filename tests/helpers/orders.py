"""Observed orders."""

import numpy as np


def observed_order(steps, errors):
    """Return the slope of log(error) over log(step), by least squares."""
    assert len(steps) >= 3
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


def rms(difference):
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(np.square(difference))))
