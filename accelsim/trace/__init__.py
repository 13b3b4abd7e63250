"""Records of a run and the run folder."""
