"""Data paths: who seals, opens and routes packets of established sessions. One interface, several ways."""
