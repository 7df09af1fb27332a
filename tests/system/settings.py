"""The settings of a device whose units are started: a demonstration that counts everybody, with windows of five seconds."""

from __future__ import annotations


def demonstration(camera: str = 'source = "composite"', broker: str = 'url = "mqtt://localhost:1883"', further: str = "") -> str:
    """A settings file.

    Args:
        camera: Lines of that table.
        broker: Lines of that table, the last one.
        further: Other tables.
    """
    return f"""
device = "shelf-7"
window_seconds = 5
k = 2
demo = true
noise = "off"
[camera]
{camera}
{further}
[broker]
{broker}
"""
