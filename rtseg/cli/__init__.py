"""The command line: one file per command, each of them thin. Heavy imports stand inside the commands."""
