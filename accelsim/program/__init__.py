"""Programs: what mapping makes and the machine runs."""
