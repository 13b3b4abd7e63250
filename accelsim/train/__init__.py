"""Training with errors: bits flip in what a torch model stores, and the model trains on.

draws, formats, ecc    numpy: which bits flip, where they stand in a word, what a decoder makes of them
laws, table, profile   how probable a flip is, at which read of which tensor
copies, memory         the stored copies of a model that trains, and the mode that reads and writes them
injector               ``ErrorInjector``, which attaches all that to a model
"""
