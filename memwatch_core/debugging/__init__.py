"""``memwatch dap``: stands between a debugger's client and debugpy, speaks the Debug Adapter Protocol to both, and adds
what debugpy hasn't: data breakpoints.

``channels`` reads and writes messages, ``relay`` passes them on, ``breakpoints`` answers the requests that are ours,
``shown`` knows what the client has been shown, ``program`` asks the program that is debugged (its half is
``adapter/debugged.py``), ``serving`` starts it all.
"""
