"""The dashboards in any browser, without Grafana.

A process of its own: page work never holds the interpreter of the insert path.  It knows the store only by its HTTP
interface, as a user who may only read, and draws nothing itself: it expands the panels' queries, asks, turns the
answers into frames (``frames``), and who asks the same within a few seconds shares one answer (``shared``).
``access`` says who may ask at all; the pages in ``static/`` are plain files.
"""
