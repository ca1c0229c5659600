"""UDP datagrams -> columnar flow batches -> bus.

``receiver`` reads sockets that the parent process holds, ``decoder`` turns datagrams into batches by the templates it
has learnt, ``batcher`` cuts them into messages by slot, ``service`` joins the three and publishes.  The decoder does no
I/O and reads no clock; the receiver counts what the kernel dropped; what cannot be decoded is counted by a closed list
of reasons.
"""
