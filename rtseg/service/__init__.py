"""`rtseg serve`: pictures over HTTP. Read `settings.py`, then `app.py`; `guard.py` is what stands before both."""
