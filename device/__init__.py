"""mien on the device: from a camera's frame to an anonymous report."""
