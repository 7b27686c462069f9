"""Loads plugins: which ones the configuration names, their states and their offers. Used by both sides."""
