"""Design-space sweeps: spaces, points, studies, engines, fronts. The command line imports it where needed."""
