"""Storages: who gets which address, and where that is kept."""
