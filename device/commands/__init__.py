"""What a person may ask of a device beside watching and sending: one module per command."""
