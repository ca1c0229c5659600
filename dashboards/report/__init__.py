"""The traffic report of a provider, for any week, from the system's own data.

``asking`` measures a week in the store, ``frozen`` keeps it for ever, ``published`` is the years of the source report
as such weeks.  ``items`` turns weeks into the figures and tables of the report, ``sentences`` says what they show,
``publishing`` takes from them what must not leave the house.  ``drawing``, ``page`` and ``files`` write them down;
``making`` is the whole on one screen.
"""
