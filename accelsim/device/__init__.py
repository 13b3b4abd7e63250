"""What devices are: array tables, leakage, energies of arithmetic. Pure functions of numbers."""
