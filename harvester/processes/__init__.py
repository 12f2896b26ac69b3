"""Several processes that read, where one core is not enough: one finds targets and writes.

The first process does all that one process alone does, but for reading: it chooses accounts,
holds the credentials, and owns the sink, the tally and the summary. Each target goes to one of
the others, which plans its queries, paces its calls and hands its pages back over a socket
pair. So a target still has one pacer, and the output one writer.
"""
