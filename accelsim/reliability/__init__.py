"""From a run's residencies to the bit error probability of every tensor at every read.

Pure functions of records: one run is judged under any devices without being simulated again. Formulas,
assumptions and their limits: docs/physics.md.
"""

from accelsim.reliability.profile import Profile, columns_of, error_columns, error_profile

__all__ = ["Profile", "columns_of", "error_columns", "error_profile"]
