"""The dashboards as typed code; ``build`` writes ``dashboards/json``, ``lint`` says what must not be in them."""
