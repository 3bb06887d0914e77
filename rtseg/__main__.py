"""`python -m rtseg` is `rtseg`."""

from rtseg.cli.main import main

main()
