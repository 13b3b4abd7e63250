"""From a captured step to the training graph: every aten op lowered, or listed as unsupported."""
