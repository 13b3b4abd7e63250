"""Two states and the probability of leaving each: the algebra of a stored bit.

A *leave* is an array whose first axis is the state, 0 or 1, and holds the probability that a bit which
began in that state is in the other one at the end. Leaves compose without a
subtraction of like numbers, so probabilities of 1e-30 stay exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def flipped(leave: Array) -> Array:
    """Return a leave by the other state: that of the bit's complement."""
    return leave[::-1]


def then(first: Array, second: Array) -> Array:
    """Return the leave of ``first`` followed by ``second``.

    >>> then(np.array([0.5, 0.0]), np.array([0.0, 0.5]))
    array([0.25, 0.5 ])
    """
    return first * (1 - flipped(second)) + (1 - first) * second


def drift(hazard: Array) -> Array:
    r"""Return the leave after a time in which a bit may go to and fro.

    .. math:: p_s = \frac{h_s}{h_0 + h_1} \bigl(1 - e^{-(h_0 + h_1)}\bigr)

    Args:
        hazard: Rate of leaving each state times the time, no unit, shape ``(2, ...)``, >= 0.

    >>> drift(np.array([[1e-20, 0.0, 0.0], [1e-20, 0.7, 0.0]])).round(4)
    array([[0.    , 0.    , 0.    ],
           [0.    , 0.5034, 0.    ]])
    """
    total = hazard[0] + hazard[1]
    scale = np.divide(-np.expm1(-total), total, out=np.ones_like(total), where=total > 0)
    return np.asarray(hazard * scale)


def blurred(leave: Array, probability: float | Array) -> Array:
    """Return the leave followed by an error that strikes both states alike."""
    return leave * (1 - probability) + (1 - leave) * probability
