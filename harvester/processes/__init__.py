"""Several processes that read, where one core is not enough; the first of them writes.

The first process does all that one process alone does: it chooses accounts, holds the
credentials, owns the sink, the tally and the summary, and reads. Some of the targets go to the
others: each plans a target's queries, paces its calls and hands its pages back over a socket
pair. So a target still has one pacer, and the output one writer.
"""
