"""``make bench-peers``: mien next to what people would pick instead, measured side by side in one run.

Each contestant is a process of its own (a *worker*) that is asked through a pipe, in turn with the others (``port.py``).
The peers are installed into a scratch folder (``install.py``); nothing of theirs is part of this project.
"""
