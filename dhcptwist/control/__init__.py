"""The control channel: AMP over mutual TLS, for other programs and for people."""
