"""Networks: plans, addresses, ports and names; bridged networks come with a later version."""
