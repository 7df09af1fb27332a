"""The fleet manager's side. It imports ``device.contract`` and nothing else of the device."""
