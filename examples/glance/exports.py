# exports.py
"""Sends orders to the accountant."""

import ledgerlib


def export(number, total):
    ledgerlib.send({"order": number, "total": total})
