"""Alert rules: written as typed code, evaluated by Grafana or by ourselves from the same file."""
