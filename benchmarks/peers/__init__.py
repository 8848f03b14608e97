"""The store beside what a user would otherwise pick: one workload, one table.

``python -m benchmarks.peers`` fits the workload once, gives each peer a process per round in
A B C A B C order, keeps what they measured as JSON lines, and prints the ratios.
"""
