"""Training, export and evaluation of the networks, and the networks themselves.

The device reads the ``*.tflite`` files and ``manifest.json`` in this folder; it never imports the code.
"""
