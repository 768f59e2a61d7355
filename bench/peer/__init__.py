"""Our agent and SDK beside the public ones, unmodified, on one hub, broker and machine.

`plan` says what is measured, `stand` sets both agents up, `client` is the program with the
stopwatch, `turns` takes the parties in turn, `figures` makes numbers of the samples, `plot` and
`page` show them. Command: `./dev bench --peer`, or `python -m bench.peer`.
"""
