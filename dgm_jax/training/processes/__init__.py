"""Devices, hosts, signals: the processes that train one run together."""
