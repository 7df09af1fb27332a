"""The networks, one per module: what goes in (``prepare``) and what comes out (``decode``)."""
