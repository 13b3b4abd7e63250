"""The command line: the only place that prints, parses arguments and catches the exception family."""
