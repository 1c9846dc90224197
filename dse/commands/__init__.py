"""One file per group of commands; `dse.cli` puts them together."""
