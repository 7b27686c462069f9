# ledgerlib.py
"""A library that finds logging too chatty: for itself, it thinks."""

import logging

logging.getLogger().setLevel(logging.WARNING)


def send(record):
    logging.debug("sending %s", record)
