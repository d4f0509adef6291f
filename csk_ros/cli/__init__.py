"""The ``csk`` command line: one module per subcommand, parsing only."""
