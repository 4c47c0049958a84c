"""What crosses a topic, a file or an API: one module per record.

These models are the only contract between `streams` and `alerting`. Nothing here decides anything
about clocks, and nothing here imports either of them.
"""
