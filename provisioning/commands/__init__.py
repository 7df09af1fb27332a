"""The commands of ``mien-fleet``, each in the module of its subject."""
