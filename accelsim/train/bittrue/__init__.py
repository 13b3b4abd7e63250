"""Training through the mapped tile program, with every bit where the machine stores it.

words      where a box of a tensor lies in a bank group, and words of storage from numbers
banks      bank groups whose cells keep what is written; DRAM, which keeps whole tensors
cells      bank groups whose cells lose bits by the laws of their device
ops        one op of the training graph on torch tensors
gemm       GEMM kernels, block by block
kernels    what a kernel has read so far, and what it makes of it
script     the accesses of a simulated step, in order of time, joined to the program's tiles
check      what cannot be run so, said before anything is
step       one training step after the other
training   epochs, rows, checkpoints
"""
